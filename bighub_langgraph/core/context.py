"""The guarded call that a tool runs for: `current_call()`."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from bighub_langgraph.core.models import CallRecord, Decision


@dataclass(frozen=True, slots=True)
class CurrentCall:
    """The guarded call that is running.

    Attributes:
        idempotency_key: The same for every start of this call; pass it to your payment provider.
        decision: BIGHUB's decision; None for a read-only tool.
        approver: The person who approved the call, where a name was given; see `approver_verified`.
        approver_verified: Whether a server has authenticated that name.
    """

    idempotency_key: str
    tool: str
    call_id: str
    decision: Decision | None = None
    approver: str | None = None
    approver_verified: bool = False

    @property
    def key(self) -> str:
        """The name of the call's record in the journal."""
        return self.idempotency_key


def current_call() -> CurrentCall:
    """Return the guarded call that this code runs in.

    Raises:
        LookupError: There is none.
    """
    try:
        record = _current.get()
    except LookupError:
        raise LookupError("current_call() is for code inside a guarded tool call") from None
    approval = record.approval
    return CurrentCall(
        idempotency_key=record.key,
        tool=record.tool,
        call_id=record.call_id,
        decision=record.decision,
        approver=approval.approver or None if approval else None,
        approver_verified=approval.verified if approval else False,
    )


@contextmanager
def enter_call(record: CallRecord) -> Iterator[None]:
    """Make a record's call the current one within a `with` block."""
    token = _current.set(record)
    try:
        yield
    finally:
        _current.reset(token)


_current: ContextVar[CallRecord] = ContextVar("bighub_current_call")
