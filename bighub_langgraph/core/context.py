"""The guarded call that a tool runs for: `current_call()`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple

from bighub_langgraph.core.errors import InvalidCall
from bighub_langgraph.core.models import CallRecord, Decision, ToolCall


@dataclass(frozen=True, slots=True)
class CurrentCall:
    """The guarded call that is running.

    Attributes:
        idempotency_key: The same for every start of this call; pass it to your payment provider.
        decision: BIGHUB's decision; None for a read-only tool.
        approver: The person who approved the call, where a name was given; see `approver_verified`.
        approver_verified: Whether a server has authenticated that name.
        fencing_token: Greater with every start of this call. A store that keeps the greatest token
            it has seen can refuse a start that comes too late. 0 for a read-only tool.
    """

    idempotency_key: str
    tool: str
    call_id: str
    decision: Decision | None = None
    approver: str | None = None
    approver_verified: bool = False
    fencing_token: int = 0

    @property
    def key(self) -> str:
        """The name of the call's record in the journal."""
        return self.idempotency_key


def current_call() -> CurrentCall:
    """Return the guarded call that this code runs in.

    Raises:
        LookupError: There is none.
    """
    record = _running_calls.get().read_only or _running_calls.get().record
    if record is None:
        raise LookupError("current_call() is for code inside a guarded tool call")
    approval = record.approval
    return CurrentCall(
        idempotency_key=record.key,
        tool=record.tool,
        call_id=record.call_id,
        decision=record.decision,
        approver=approval.approver or None if approval else None,
        approver_verified=approval.verified if approval else False,
        fencing_token=record.version if record.starts else 0,
    )


@contextmanager
def enter_call(record: CallRecord) -> Iterator[None]:
    """Make a record's call the current one within a `with` block."""
    token = _running_calls.set(_RunningCalls(record, claims=[record]))
    try:
        yield
    finally:
        _running_calls.reset(token)


@contextmanager
def enter_read_only_call(record: CallRecord) -> Iterator[None]:
    """Show a call that is not in the journal as the current one within a `with` block.

    Only `current_call` shows it: guarded calls inside belong to the guarded call around it.
    """
    token = _running_calls.set(_running_calls.get()._replace(read_only=record))
    try:
        yield
    finally:
        _running_calls.reset(token)


def current_record() -> CallRecord | None:
    """Return the record of the guarded call that this code runs in; None where there is none."""
    return _running_calls.get().record


def current_key() -> str | None:
    """Return the key of the guarded call that this code runs in; None where there is none."""
    record = current_record()
    return None if record is None else record.key


def log_fields(record: CallRecord) -> dict[str, str]:
    """Return what a log record about a call has as `extra`."""
    names = {"bighub_call_key": record.key, "bighub_tool": record.tool}
    return {**names, "bighub_thread": record.thread}


def take_claim(tool: str, call_id: str | None, arguments: Mapping[str, Any]) -> bool:
    """Whether the guard around this code has claimed this very call; once for each start of it."""
    claims = _running_calls.get().claims
    for record in tuple(claims):
        call = ToolCall(record.thread, record.turn, call_id or "", tool, arguments)
        with suppress(InvalidCall, ValueError):
            if call.key == record.key:
                claims.remove(record)  # raises where another thread was first
                return True
    return False


class _RunningCalls(NamedTuple):
    """The calls that code runs in.

    Attributes:
        record: The guarded call; None outside of one.
        claims: Its claim, until a guarded tool starts with it. Threads share the list.
        read_only: A call within it that is not in the journal.
    """

    record: CallRecord | None
    claims: list[CallRecord]
    read_only: CallRecord | None = None


_NO_CALL = _RunningCalls(None, claims=[])
_running_calls: ContextVar[_RunningCalls] = ContextVar("bighub_calls", default=_NO_CALL)
