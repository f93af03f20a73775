"""A run of a model with its tools: its calls, its conversation so far, and its result."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import copy
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from bighub_langgraph.core.jsonable import copy_jsonable
from bighub_langgraph.core.models import Answer, Approval, CallRecord, Status, ToolCall
from bighub_langgraph.core.policy import GuardSettings
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.openai.arguments import BoundArguments
from bighub_langgraph.openai.errors import InvalidRunState
from bighub_langgraph.openai.events import error_for_model
from bighub_langgraph.openai.response_parsing import (
    ModelResponse,
    call_id_of,
    serialize_response,
    to_item,
    to_items,
)
from bighub_langgraph.openai.responses_api import ResponsesApi
from bighub_langgraph.openai.tool_runner import ToolRunner
from bighub_langgraph.openai.tools import ToolRegistry

if TYPE_CHECKING:
    from bighub_langgraph.openai.run_state import RunState

Json = dict[str, Any]

_EMPTY: Json = {}  # a default; no one changes it


class ToolCallState(NamedTuple):
    """One call of the current turn, from the model's request until the model has its output.

    Attributes:
        arguments: Validated and complete, as the tool gets them and people are shown them.
        kind: "function"; "custom" for a custom tool, which is never run; "mcp" for an approval that
            a hosted server requests.
        key: The key of the call's record in the journal; None where it has none.
        event: The event of the last step; users see it while the call is pending.
        output: What the model reads; None while the call waits for a person.
        approval: A person's answer; None while there is none.
        edited_arguments: The arguments of an answer that changes them.
        is_edited: Whether the arguments are a person's.
        repeats: The id of an earlier call of the same response with the same tool and arguments.
        record: The journal's record. Neither this nor the rest is stored with a run.
        is_new: Whether the decision is of this turn, so that `on_decision` has not seen it.
        bind: Returns the values for one call of the tool, where the arguments were just validated.
    """

    call_id: str
    tool: str
    arguments: Json
    kind: str = "function"
    key: str | None = None
    event: Json = _EMPTY
    output: str | list[Json] | None = None
    approval: Approval | None = None
    edited_arguments: Json | None = None
    is_edited: bool = False
    repeats: str | None = None
    record: CallRecord | None = None
    is_new: bool = False
    bind: Callable[[], BoundArguments] | None = None

    @property
    def is_pending(self) -> bool:
        """Whether the call waits for a person."""
        return self.output is None

    @property
    def is_refused(self) -> bool:
        """Whether it waits after an answer that does not count; the event's error says why."""
        status, error = self.event.get("status"), self.event.get("error")
        return self.is_pending and status == Status.APPROVAL_REQUIRED and bool(error)

    @property
    def request_id(self) -> str | None:
        """The id by which a person may refer to the call."""
        return self.event.get("request_id")

    @property
    def approval_scope(self) -> str:
        """What a standing approval of this call covers: its tool, here or on one hosted server."""
        return json.dumps([self.kind, self.event.get("server_label"), self.tool])

    def to_input_item(self) -> Json:
        """Return the item by which the model receives the output."""
        if self.kind != "mcp":
            is_function = self.kind == "function"
            return {
                "type": "function_call_output" if is_function else "custom_tool_call_output",
                "call_id": self.call_id,
                "output": self.output or "",
            }
        is_approved = self.approval is not None and self.approval.answer is Answer.APPROVE
        item = {
            "type": "mcp_approval_response",
            "approval_request_id": self.call_id,
            "approve": is_approved,
        }
        return item if is_approved else {**item, "reason": self.output or ""}

    def to_json(self) -> Json:
        """Return what is stored with a run."""
        fields: Json = {name: getattr(self, name) for name in STORED_FIELDS}
        fields["event"] = self.event if self.is_pending else {}
        fields["approval"] = None if self.approval is None else asdict(self.approval)
        return fields

    @classmethod
    def from_json(cls, fields: Json) -> "ToolCallState":
        """Return what `to_json` stored."""
        if (approval := fields["approval"]) is not None:
            answer = Answer(approval["answer"])
            fields = {**fields, "approval": Approval(**{**approval, "answer": answer})}
        return cls(**fields)


STORED_FIELDS = (
    *("call_id", "tool", "arguments", "kind", "key", "event", "output", "approval"),
    *("edited_arguments", "is_edited", "repeats"),
)


class Run(NamedTuple):
    """One run of the model with its tools, as far as it has come.

    Attributes:
        run_id: Also the id of its trajectory and its trace.
        session_id: That of the client which started it, so that BIGHUB sees one session whichever
            client resumes it.
        settings: What every request holds: model, instructions and the user's extra arguments.
        items: The items of both sides, for requests in a conversation that the service does not
            store.
        new_items: Those of them that the service has not received.
        turn_id: The id of the current turn: that of the model's last response.
        calls: The calls of the current turn.
        rounds: How many rounds of tools the run had.
        events: The events of all calls, in order.
        turn_ids: Those of all turns so far.
        standing_approvals: The scopes of the calls that a person approved for the rest of the run,
            with that person's name and comment.
    """

    run_id: str
    session_id: str
    settings: Json
    items: Sequence[Json]
    new_items: Sequence[Json]
    turn_id: str = ""
    previous_response_id: str | None = None
    rounds: int = 0
    calls: Sequence[ToolCallState] = ()
    events: Sequence[Json] = ()
    usage: Json = _EMPTY
    standing_approvals: Json = _EMPTY
    turn_ids: Sequence[str] = ()

    @property
    def pending_calls(self) -> list[ToolCallState]:
        """The calls that wait for a person."""
        return [call for call in self.calls if call.is_pending]

    def to_tool_call(self, call: ToolCallState) -> ToolCall:
        """Return a call of the current turn as the journal knows it."""
        return ToolCall(self.run_id, self.turn_id, call.call_id, call.tool, call.arguments)

    def with_response(self, response: ModelResponse, turn_id: str) -> "Run":
        """Return the run after a response of the model."""
        return self._replace(
            turn_id=turn_id,
            turn_ids=[*self.turn_ids, turn_id],
            previous_response_id=response.id,
            items=[*self.items, *map(to_replayable, response.items)],
            new_items=[],
            usage=_add_usage(self.usage, response.usage),
        )

    def with_calls(self, calls: Sequence[ToolCallState], events: Sequence[Json]) -> "Run":
        """Return the run after a step of its calls. Once all are complete, the model is next."""
        first = len(self.events)
        numbered_events = [{**event, "seq": seq} for seq, event in enumerate(events, first)]
        if any(call.is_pending for call in calls):
            return self._replace(calls=list(calls), events=[*self.events, *numbered_events])
        outputs = [call.to_input_item() for call in calls]
        return self._replace(
            calls=(),
            events=[*self.events, *numbered_events],
            rounds=self.rounds + 1,
            items=[*self.items, *outputs],
            new_items=[*self.new_items, *outputs],
        )

    def with_credentials(self, credentials: Mapping[str, Any]) -> "Run":
        """Return the run with the headers and the tools' keys that `to_json` leaves out.

        Raises:
            InvalidRunState: Something else is passed, or the tools differ in more than their keys.
        """
        settings = {name: value for name, value in credentials.items() if value is not None}
        if other_names := ", ".join(settings.keys() - {*_PRIVATE_SETTINGS, "tools"}):
            raise InvalidRunState(f"{other_names} cannot change in a run: start another with it")
        tools, own_tools = settings.get("tools"), self.settings.get("tools")
        if tools is not None and _without_keys(tools) != _without_keys(own_tools):
            raise InvalidRunState(
                "tools= must be the hosted tools that the run was started with; only their "
                f"{' and '.join(_PRIVATE_TOOL_FIELDS)} may differ"
            )
        return self._replace(settings={**self.settings, **settings})

    def to_json(self) -> Json:
        """Return the run as JSON, without keys, headers and what JSON cannot express."""
        settings = {
            name: to_item(value)
            for name, value in self.settings.items()
            if name not in _PRIVATE_SETTINGS
        }
        if settings.get("tools"):
            settings["tools"] = _without_keys(settings["tools"])
        fields = self._replace(settings=settings, calls=())._asdict()
        return {**copy_jsonable(fields), "calls": [call.to_json() for call in self.calls]}

    @classmethod
    def from_json(cls, fields: Json) -> "Run":
        """Return what `to_json` stored."""
        calls = [ToolCallState.from_json(call) for call in fields["calls"]]
        return cls(**{**fields, "calls": calls})


# These may hold keys, or mean something only in the process that passed them.
_PRIVATE_SETTINGS = frozenset(("extra_headers", "extra_query", "timeout"))
_PRIVATE_TOOL_FIELDS = ("authorization", "headers")


def _without_keys(tools: Any) -> list[Any]:
    return [
        {name: value for name, value in tool.items() if name not in _PRIVATE_TOOL_FIELDS}
        if isinstance(tool, dict)
        else tool
        for tool in to_items(tools or ())
    ]


MAX_ID_LENGTH = 64


def to_replayable(item: Json) -> Json:
    """Return an item as a request may hold it: services send more than they accept."""
    kind, arguments = item.get("type"), item.get("arguments")
    if len(str(item.get("id", ""))) > MAX_ID_LENGTH and kind != "mcp_approval_request":
        item = {name: value for name, value in item.items() if name != "id"}
    if item.get("content", ()) is None:
        item = {**item, "content": []}
    if kind == "function_call" and isinstance(arguments, str):
        try:
            json.loads(arguments or "{}")
        except (ValueError, RecursionError):
            return {**item, "arguments": json.dumps({"unreadable": arguments})}
    return item


def _add_usage(total: Json, usage: Json) -> Json:
    """Add up token counts. Some servers send null for a count."""
    total = dict(total)
    for name, value in usage.items():
        before = total.get(name)
        if isinstance(value, dict):
            total[name] = _add_usage(before if isinstance(before, dict) else {}, value)
        elif isinstance(value, int) and not isinstance(value, bool):
            total[name] = (before if isinstance(before, int) else 0) + value
        else:
            total.setdefault(name, value)
    return total


class RunContext(NamedTuple):
    """What a run needs from outside, in a blocking or an async client.

    Attributes:
        settings: With the policies of the registered tools.
        session_id: For the runs that the client starts.
        max_rounds: How many rounds of tools a run may have.
        emit_decision: Calls the users' callbacks with a new decision; None where there are none.
        create_state: Returns the state of a run that an error carries.
    """

    api: ResponsesApi
    tools: ToolRegistry
    settings: GuardSettings
    ports: Ports
    tool_runner: ToolRunner
    session_id: str
    max_rounds: int
    emit_decision: Callable[[Json, CallRecord], Awaitable[None]] | None
    create_state: Callable[[Run], Any]


class RunEnding(NamedTuple):
    """Where a run stopped.

    Attributes:
        status: completed, interrupted, incomplete, failed, refused or max_rounds.
        replayed: Whether the same state was resumed before, and this is how it ended then.
    """

    run: Run
    response: ModelResponse
    status: str
    replayed: bool = False

    def to_json(self) -> Json:
        """Return the ending as JSON."""
        return {
            "run": self.run.to_json(),
            "response": copy_jsonable(self.response._asdict()),
            "status": self.status,
        }

    @classmethod
    def from_json(cls, fields: Json) -> "RunEnding":
        """Return what `to_json` stored, as a replayed ending."""
        response = ModelResponse(**fields["response"])
        return cls(Run.from_json(fields["run"]), response, fields["status"], replayed=True)


_KINDS = {"function_call": "function", "custom_tool_call": "custom"}
_NOT_RUN = "the run stopped before this call, so it was not run"


class RunResult(dict[str, Any]):
    """The result of a run.

    As a dict it has `llm_response`, `execution` (`events`, `last`), `response_id`, `output_text`,
    `output`, and after `run_with_approval` also `approval_loop`. It can always be dumped as JSON.

    Attributes:
        status: completed, interrupted, incomplete, failed, refused or max_rounds.
        interruptions: The events of the calls that wait for a person.
        usage: The tokens of all responses together.
        error: The service's error or reason, where the response failed or is incomplete.
        replayed: Whether the same state was resumed before, and this is the result from then.
    """

    def __init__(self, ending: RunEnding, state: "RunState") -> None:
        run, response = ending.run, ending.response
        events = [copy_jsonable(event) for event in run.events]
        execution = {"events": events, "last": events[-1] if events else None}
        fields = serialize_response(response)
        super().__init__(**fields, llm_response=fields, execution=execution)
        self.status = ending.status
        self.interruptions = [copy_jsonable(call.event) for call in run.pending_calls]
        self.usage = dict(run.usage)
        reason = response.incomplete_reason
        self.error = response.error or ({"reason": reason} if reason else None)
        self.replayed = ending.replayed
        self._state = state

    def to_input_list(self) -> list[Json]:
        """Return the conversation as items, to which the next run's `messages` are appended.

        Raises:
            InvalidRunState: Calls wait for a person: answer them and resume this run first.
        """
        run = self._state.run
        if run.pending_calls:
            names = ", ".join(f"{call.call_id} ({call.tool})" for call in run.pending_calls)
            raise InvalidRunState(f"{names} waits for a person; answer it and resume the run first")
        outputs = {item.get("call_id") for item in run.items if "output" in item}
        stopped_calls = [
            ToolCallState(call_id_of(item), "", {}, kind, output=error_for_model(_NOT_RUN))
            for item in run.items
            if (kind := _KINDS.get(str(item.get("type")))) and call_id_of(item) not in outputs
        ]
        items: list[Json] = copy_jsonable(
            [*run.items, *(call.to_input_item() for call in stopped_calls)]
        )
        return items

    def to_state(self) -> "RunState":
        """Return the run as it stands, to be answered, stored as JSON, and resumed anywhere."""
        return copy(self._state)
