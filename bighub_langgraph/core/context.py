"""What a tool can learn of the call it runs for."""

from contextvars import ContextVar
from dataclasses import dataclass

from bighub_langgraph.core.models import CallRecord, Decision


@dataclass(frozen=True, slots=True)
class CurrentCall:
    """The guarded call that is running.

    Attributes:
        idempotency_key: The same for every start of this call; pass it to your payment provider.
        decision: What BIGHUB thinks of the call; None for a tool that is read-only.
        approver: Who said yes, if somebody was asked and gave a name; see `approver_verified`.
        approver_verified: Whether a server vouches for that name.
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
    """The guarded call this code runs in; a `LookupError` outside of one."""
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


class enter_call:  # noqa: N801 - used like a function
    """Makes a record's call the current one."""

    __slots__ = ("_record", "_token")

    def __init__(self, record: CallRecord) -> None:
        self._record = record

    def __enter__(self) -> None:
        self._token = _current.set(self._record)

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)


_current: ContextVar[CallRecord] = ContextVar("bighub_current_call")
