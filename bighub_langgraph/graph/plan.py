"""The plan of a turn: the guard's private part of the state, and how state is read.

`evaluate` writes the plan to a private channel: the calls of the turn and what comes next for each,
in plain JSON. The edge behind it sends every task its own part of the plan, so that tasks of one
superstep never overwrite each other. Users' schemas do not show the channel; the guard's nodes
declare it by `input_schema`.
"""

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, TypedDict
from uuid import uuid4

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    InvalidToolCall,
    ToolMessage,
    convert_to_messages,
)
from langchain_core.messages import ToolCall as MessageToolCall
from langchain_core.runnables import RunnableConfig

from bighub_langgraph.core.errors import InvalidCall
from bighub_langgraph.core.evaluation import EditedCall
from bighub_langgraph.core.lifecycle import next_step
from bighub_langgraph.core.models import CallRecord, State, Step, ToolCall
from bighub_langgraph.core.policy import GuardSettings
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.core.recovery import recovers_itself

CHANNEL = "bighub"

MessageCall = MessageToolCall | InvalidToolCall
# The configuration that LangChain passes to `invoke`, if any.
OptionalConfig = RunnableConfig | None
NextAction = Literal["execute", "ask", "evaluate", "done"]


class PlannedCall(TypedDict):
    """One call of the turn, with the provider's id, the tool and its arguments.

    Attributes:
        args: The arguments it runs with; a person's edit replaces them.
        key: Its record in the journal; None where it is not evaluated.
        next: What comes next: a `Send` to the tools, a question, an evaluation, nothing.
        edited_from: Key of the call as the history holds it, which a person edited into this one.
        error: Why the call cannot be evaluated.
    """

    id: str
    name: str
    args: dict[str, Any]
    key: str | None
    next: NextAction
    edited_from: NotRequired[str]
    error: NotRequired[str]


class Plan(TypedDict):
    """The guard's plan of one turn.

    Attributes:
        thread: First part of every key: the thread id, or a new id.
        turn: Second part: the AI message's id, or a new id.
        is_part: Whether the turn may have open calls that other tasks see to.
        per_call: Whether a person is asked about each call on its own.
        unclear: Why the last answer was not understood, if there was one.
    """

    thread: str
    turn: str
    calls: list[PlannedCall]
    is_part: bool
    per_call: bool
    unclear: str


def replace_plan(_: Plan | None, plan: Plan) -> Plan:
    """Reduce the channel: the last write counts, and one superstep may write several times."""
    return plan


class GuardState(TypedDict):
    """The state the guard's nodes share, with the messages under their usual key."""

    messages: NotRequired[Sequence[Any]]
    bighub: NotRequired[Annotated[Plan, replace_plan]]


def input_schema(messages_key: str) -> type:
    """Return the input schema of the guard's nodes: the messages and the private channel."""
    # The functional form, because the user names one of the keys.
    keys = {messages_key: Sequence[Any], CHANNEL: NotRequired[Annotated[Plan, replace_plan]]}
    schema: type = TypedDict("GuardInput", keys)  # type: ignore[misc]
    return schema


class TurnId(NamedTuple):
    """The first two parts of the keys of a turn's calls: a thread id and a message id."""

    thread: str = ""
    turn: str = ""

    @classmethod
    def of(cls, config: RunnableConfig, message: AIMessage | None) -> "TurnId":
        """Return the ids of a message's turn, with new ones where there are none."""
        turn = message.id if message is not None else None
        return cls(thread_id_of(config) or new_id(), turn or new_id())


def new_plan(turn_id: TurnId, settings: GuardSettings, calls: Sequence[PlannedCall] = ()) -> Plan:
    """Return a plan of a turn."""
    thread, turn = turn_id
    per_call = settings.approvals.interrupt_mode == "per_call"
    return Plan(
        thread=thread, turn=turn, calls=list(calls), is_part=False, per_call=per_call, unclear=""
    )


def plan_call(call: ToolCall, key: str | None, next_action: NextAction) -> PlannedCall:
    """Return a call as a part of a plan."""
    arguments: Any = call.arguments
    return PlannedCall(id=call.call_id, name=call.tool, args=arguments, key=key, next=next_action)


def plan_calls(calls: Sequence[ToolCall], tools: Container[str] | None = None) -> list[PlannedCall]:
    """Return calls to be evaluated; with `tools`, calls of others go to the tools as they are."""
    return [
        plan_call(call, None, "evaluate" if tools is None or call.tool in tools else "execute")
        for call in calls
    ]


def reject_call(call: PlannedCall, error: str) -> None:
    """Let a call go no further than to be answered with an error.

    Its arguments may not even be JSON, and the plan is checkpointed.
    """
    call["error"], call["next"], call["args"] = error, "done", {}


def subplan(plan: Plan, calls: Sequence[PlannedCall], *, unclear: str = "") -> Plan:
    """Return a plan of some calls of the same turn."""
    return {**plan, "calls": list(calls), "is_part": True, "unclear": unclear}


def question_plan(call: ToolCall, key: str, settings: GuardSettings) -> Plan:
    """Return a plan that asks a person about one recorded call."""
    return new_plan(TurnId(call.thread, call.turn), settings, [plan_call(call, key, "ask")])


def covers(plan: Plan, message: AIMessage, open_ids: Collection[str]) -> bool:
    """Whether a plan is about a message, and about these calls of it as they are now."""
    current = current_calls(plan, [message])
    covered_ids = {
        call["id"] for call in plan["calls"] if "error" in call or is_current(call, current)
    }
    return plan["turn"] == message.id and covered_ids.issuperset(open_ids)


def is_stale(plan: Plan, messages: Sequence[BaseMessage]) -> bool:
    """Whether the history no longer holds the open calls of a turn as they are planned."""
    current = current_calls(plan, messages)
    planned_calls = {call["id"]: call for call in plan["calls"] if call["next"] != "done"}
    is_added = not plan["is_part"] and not current.keys() <= planned_calls.keys()
    return is_added or not all(is_current(call, current) for call in planned_calls.values())


def current_calls(plan: Plan, messages: Sequence[BaseMessage]) -> dict[str, ToolCall]:
    """Return the open calls of a turn as the history holds them now, by id.

    Somebody may have changed them with `update_state`, or another node.
    """
    turn = last_turn(messages)
    if turn.message is None or turn.message.id not in {None, plan["turn"]}:
        return {}
    calls = to_tool_calls(TurnId(plan["thread"], plan["turn"]), turn.open_calls)
    return {call.call_id: call for call in calls}


def is_current(planned_call: PlannedCall, current: Mapping[str, ToolCall]) -> bool:
    """Whether a planned call is still open, and as it was planned or as a person edited it."""
    call = current.get(planned_call["id"])
    if call is None:
        return False
    if (call.tool, call.arguments) == (planned_call["name"], planned_call["args"]):
        return True
    return key_of(call) in {planned_call["key"], planned_call.get("edited_from")} - {None}


def key_of(call: ToolCall) -> str | None:
    """Return a call's key; None where its arguments are not JSON, so that it has no record."""
    try:
        return call.key
    except InvalidCall:
        return None


def to_tool_calls(turn_id: TurnId, calls: Iterable[Mapping[str, Any]]) -> list[ToolCall]:
    """Return calls of a message or a plan as the core takes them. Without an id, the id is ""."""
    return [
        ToolCall(*turn_id, call.get("id") or "", call["name"] or "", call["args"]) for call in calls
    ]


def message_tool_call(call: PlannedCall) -> MessageToolCall:
    """Return a planned call as LangChain takes it."""
    return MessageToolCall(name=call["name"], args=call["args"], id=call["id"], type="tool_call")


async def evaluation_items(
    plan: Plan, planned_calls: Sequence[PlannedCall], ports: Ports
) -> list[ToolCall | EditedCall]:
    """Return planned calls as they are evaluated: an edited one with the person's approval.

    The approval is the journal's. A plan is state, which others may write.
    """
    calls = to_tool_calls(TurnId(plan["thread"], plan["turn"]), planned_calls)
    originals = [call.get("edited_from", "") for call in planned_calls]
    records = await ports.find([key for key in originals if key]) if any(originals) else {}
    return [
        _with_approval(call, records.get(key)) for call, key in zip(calls, originals, strict=True)
    ]


def _with_approval(call: ToolCall, original: CallRecord | None) -> ToolCall | EditedCall:
    if original is None or original.state is not State.EDITED or original.approval is None:
        return call
    is_approved = original.approval.edited_to == key_of(call)
    return EditedCall(call, original.approval, original.key) if is_approved else call


def next_action(record: CallRecord, settings: GuardSettings, *, can_ask: bool = True) -> NextAction:
    """Return what comes next for a recorded call."""
    if recovers_itself(record, settings.policy_for(record.tool)):
        return "execute"  # recovered there
    step = next_step(record)
    if step is Step.ASK:
        return "ask" if can_ask else "done"
    # A call that ran before is sent to the tools too: its stored result is returned again.
    return "execute" if step is Step.EXECUTE or record.result is not None else "done"


def read_plan(state: Any) -> Plan | None:
    """Return the plan in a state of any kind; None where what is there is no plan."""
    is_mapping = isinstance(state, Mapping)
    plan: Any = state.get(CHANNEL) if is_mapping else getattr(state, CHANNEL, None)
    is_plan = isinstance(plan, dict) and plan.keys() >= Plan.__required_keys__
    return plan if is_plan else None


def read_messages(state: Any, messages_key: str) -> list[BaseMessage]:
    """Return the messages of a state, or the state itself where it is a list of them."""
    if isinstance(state, Mapping):
        state = state.get(messages_key)
    elif not isinstance(state, list):
        state = getattr(state, messages_key, None)
    messages = state or []
    # Converting each message of a long history takes as long as all else that a node reads.
    if all(issubclass(kind, BaseMessage) for kind in set(map(type, messages))):
        return list(messages)
    return list(convert_to_messages(messages))


class Turn(NamedTuple):
    """The last AI message of a history, and its calls that have no answer, as it has them."""

    message: AIMessage | None
    open_calls: list[MessageCall]


def last_turn(messages: Sequence[BaseMessage]) -> Turn:
    """Return the last turn of a history."""
    answered_ids: set[str] = set()
    for message in reversed(messages):
        if isinstance(message, AIMessage):
            calls = calls_of(message)
            calls = [call for call in calls if (call["id"] or "") not in answered_ids]
            return Turn(message, calls)
        if isinstance(message, ToolMessage):
            answered_ids.add(message.tool_call_id)
    return Turn(None, [])


def calls_of(message: BaseMessage | None) -> list[MessageCall]:
    """Return the calls of a message.

    Those whose arguments LangChain could not parse have a text, or None, for their arguments:
    providers want an answer to them too.
    """
    if not isinstance(message, AIMessage):
        return []
    return [*message.tool_calls, *message.invalid_tool_calls]


def find_message(state: Any, call_id: str | None) -> AIMessage | None:
    """Return the AI message that made a call, under whatever key a state keeps its messages."""
    if isinstance(state, list):
        lists = [state]
    else:
        fields = state if isinstance(state, Mapping) else getattr(state, "__dict__", {})
        lists = [value for value in fields.values() if isinstance(value, list)]
    for messages in lists:
        for message in reversed(messages):
            if isinstance(message, AIMessage) and any(
                call["id"] == call_id for call in message.tool_calls
            ):
                return message
    return None


def thread_id_of(config: RunnableConfig) -> str | None:
    """Return the thread id, if the run has one."""
    thread_id = config.get("configurable", {}).get("thread_id")
    return None if thread_id is None else str(thread_id)


def new_id() -> str:
    """Return an id for a thread or a turn that has none."""
    return f"minted-{uuid4().hex}"
