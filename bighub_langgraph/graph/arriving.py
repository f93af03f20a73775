"""A call as it arrives before its tool: the one that was considered, or another one."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from langgraph.errors import GraphBubbleUp

from bighub_langgraph.core.errors import InvalidCall
from bighub_langgraph.core.evaluation import EditedCall, RefusedCall
from bighub_langgraph.core.execution import ExecutionResult
from bighub_langgraph.core.model_messages import invalid_call_message
from bighub_langgraph.core.models import CallRecord, State, ToolCall
from bighub_langgraph.graph.answering import answered, refused
from bighub_langgraph.graph.state import Plan, Planned
from bighub_langgraph.graph.tooling import Update, said
from bighub_langgraph.guard import BighubGuard

# A person has not been and will not be asked about these here.
WITHOUT_TOOL = frozenset({State.BLOCKED, State.ANSWERED, State.EDITED})


class Host(Protocol):
    """Where a call comes from, and what can be done for another one there."""

    @property
    def guard(self) -> BighubGuard:
        """Whose rules hold."""
        ...

    @property
    def call_id(self) -> str | None:
        """The provider's id of the call."""
        ...

    async def considered(self, target: ToolCall | EditedCall) -> CallRecord | RefusedCall:
        """What the journal says of a call, after BIGHUB was asked about a new one."""
        ...

    async def asked_here(
        self, call: ToolCall, record: CallRecord, *, edits: bool = True
    ) -> tuple[CallRecord, Planned | None]:
        """What the journal says after a person was asked; and the call as that person wants it."""
        ...

    async def ran(
        self, call: ToolCall, key: str, invoke: Callable[[], Awaitable[Any]]
    ) -> ExecutionResult:
        """Run a call once that is recorded under a key."""
        ...

    async def deliver(self) -> None:
        """Tell BIGHUB."""
        ...


class BeforeTool:
    """Lets the considered call through, and looks at any other as at a call of its own.

    Args:
        host: Whose call it is.
        plan: Of the turn.
        seen: The key of what was considered; None where no call is known yet.
    """

    def __init__(self, host: Host, plan: Plan, seen: str | None) -> None:
        self._host = host
        self._plan = plan
        self._seen = seen
        self._replaced = False

    async def enter(
        self, name: str, arguments: dict[str, Any], invoke: Callable[[], Awaitable[Any]]
    ) -> Any:
        """Run the tool for the considered call; for another, as BIGHUB and people say."""
        call_id = self._host.call_id
        call = call_of(self._plan, call_id, name, arguments)
        if self._seen is not None and key_of(call) == self._seen:
            return await invoke()
        self._replaced = True
        return alone(await self._other(call, invoke))

    async def _other(self, call: ToolCall, invoke: Callable[[], Awaitable[Any]]) -> Update:
        if self._host.guard.runtime.settings.policy_for(call.tool).read_only:
            return await invoke()
        record = await self._host.considered(call)
        if isinstance(record, RefusedCall):
            return [refused(call.tool, call.call_id, invalid_call_message(call.tool, record.error))]
        if record.state is State.AWAITING:
            record, _ = await self._host.asked_here(call, record, edits=False)
        if record.state in WITHOUT_TOOL:
            await self._host.deliver()
            return [answered(record)]
        return said(await self._host.ran(call, record.key, invoke), call)

    async def through(self, chain: Awaitable[Update]) -> Update:
        """What the chain gives to a claimed call, unless another call came of it on the way."""
        try:
            update = await chain
        except GraphBubbleUp:
            raise
        except Exception as error:
            if self._replaced:
                raise Replaced(error=error) from error
            raise
        if self._replaced:
            raise Replaced(update)
        return update


class Replaced(GraphBubbleUp):
    """Another call ran in place of the claimed one; raised past the last wrapper."""

    def __init__(self, update: Update = None, error: Exception | None = None) -> None:
        super().__init__()
        self._update = update
        self._error = error

    def given(self) -> Update:
        """What the other call gave, or raised."""
        if self._error is not None:
            raise self._error
        return self._update


def key_of(call: ToolCall) -> str | None:
    """A call's key; what is no JSON has none, and cannot have been considered."""
    try:
        return call.key
    except InvalidCall:
        return None


def call_of(plan: Plan, call_id: str | None, name: str, arguments: Mapping[str, Any]) -> ToolCall:
    """A call of the turn in the journal's terms."""
    return ToolCall(plan["thread"], plan["turn"], call_id or "", name, dict(arguments))


def alone(update: Update) -> Any:
    """A single message as such: wrappers outside expect no list of one."""
    return update[0] if isinstance(update, list) and len(update) == 1 else update
