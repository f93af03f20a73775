"""How far a conversation has come: the items of both sides, the open turn, what has run so far."""

import json
from collections.abc import Container, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from bighub_langgraph.openai.replies import Reply, id_of_call, in_json

__all__ = ["OpenCall", "Talk", "talk_from_json", "talk_in_json"]

Json = dict[str, Any]


@dataclass(frozen=True)
class OpenCall:
    """One call of the turn that is not yet given back to the model.

    Attributes:
        kind: "function", or "mcp" for what a hosted server asks to be allowed.
        arguments: Checked and complete, as the tool gets them and as a person is shown them.
        key: The name of the call's record in the journal; None for a call that has none.
        output: What the model will read; None while the call waits for a person.
        waiting: The event that a person is shown, while it waits.
        answer: What that person said, in plain JSON; None while nobody has.
        edited: Whether a person changed the arguments.
    """

    call_id: str
    tool: str
    arguments: Json = field(default_factory=dict)
    kind: str = "function"
    key: str | None = None
    output: str | None = None
    waiting: Json | None = None
    answer: Json | None = None
    edited: bool = False

    @property
    def settled(self) -> bool:
        """Whether the model can be told what became of it."""
        return self.output is not None

    @property
    def item(self) -> Json:
        """The input item that tells the model."""
        if self.kind == "mcp":
            said = self.answer or {}
            approved = said.get("answer") == "approve"
            item = {
                "type": "mcp_approval_response",
                "approval_request_id": self.call_id,
                "approve": approved,
            }
            return item if approved else {**item, "reason": self.output or ""}
        return {
            "type": "function_call_output",
            "call_id": self.call_id,
            "output": self.output or "",
        }


@dataclass(frozen=True)
class Talk:
    """One run of the model with its tools.

    Attributes:
        run_id: Names the run; also its trajectory and its trace.
        settings: What goes into every request: model, instructions and everything else the user
            passed.
        items: The items of both sides so far, to be sent again in a conversation that nobody
            stores.
        fresh: Those of them that the service has not yet seen.
        turn: Id of the answer whose calls are open, or were last.
        rounds: Rounds of tools so far.
        events: What became of every call so far, in order.
        always: Tools whose calls somebody approves for the rest of the run, and who.
    """

    run_id: str
    settings: Json
    items: Sequence[Json]
    fresh: Sequence[Json]
    turn: str | None = None
    previous: str | None = None
    rounds: int = 0
    open: Sequence[OpenCall] = ()
    events: Sequence[Json] = ()
    usage: Json = field(default_factory=dict)
    always: Json = field(default_factory=dict)

    def heard(self, reply: Reply, turn: str) -> "Talk":
        """The talk after an answer of the model."""
        return replace(
            self,
            turn=turn,
            previous=reply.id,
            items=[*self.items, *reply.items],
            fresh=[],
            usage=_added(self.usage, reply.usage),
        )

    def with_calls(self, calls: Sequence[OpenCall], events: Sequence[Json]) -> "Talk":
        """The talk after something became of its open calls."""
        numbered = [{**one, "seq": len(self.events) + n} for n, one in enumerate(events)]
        return replace(self, open=list(calls), events=[*self.events, *numbered])

    def answered(self) -> "Talk":
        """The talk once all calls of the turn are given back to the model."""
        told = [call.item for call in self.open]
        # Only what could not be read has no record; what could is fit to be sent again.
        unsure = {call.call_id for call in self.open if call.key is None}
        items = [_replayable(item, unsure) for item in self.items] if unsure else self.items
        return replace(
            self,
            open=(),
            rounds=self.rounds + 1,
            items=[*items, *told],
            fresh=[*self.fresh, *told],
        )

    @property
    def pending(self) -> list[OpenCall]:
        """The calls that wait for a person."""
        return [call for call in self.open if not call.settled]


def talk_in_json(talk: Talk) -> Json:
    """Say a talk in plain JSON. Keys, headers and what JSON cannot say stay behind."""
    settings = {
        name: in_json(value) for name, value in talk.settings.items() if name not in _PRIVATE
    }
    if isinstance(tools := settings.get("tools"), list):
        settings["tools"] = [_without_keys(tool) for tool in tools]
    said = {name: value for name, value in settings.items() if _is_json(value)}
    return asdict(replace(talk, settings=said))


def talk_from_json(said: Json) -> Talk:
    """Read a talk again."""
    return Talk(**{**said, "open": [OpenCall(**call) for call in said["open"]]})


def _replayable(item: Json, unsure: Container[str]) -> Json:
    """Make a call whose arguments are not JSON fit to be sent again: some servers refuse it."""
    arguments = item.get("arguments")
    if item.get("type") != "function_call" or not isinstance(arguments, str):
        return item
    if id_of_call(item) not in unsure:
        return item
    try:
        json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        return {**item, "arguments": json.dumps({"unreadable": arguments})}
    return item


# What may hold keys, or means something only in the process that passed it.
_PRIVATE = frozenset(("extra_headers", "extra_query", "timeout"))

# The same of a hosted server among the user's own tools.
_PRIVATE_OF_TOOLS = frozenset(("authorization", "headers"))


def _without_keys(tool: Any) -> Any:
    if not isinstance(tool, dict):
        return tool
    return {name: value for name, value in tool.items() if name not in _PRIVATE_OF_TOOLS}


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def _added(one: Json, other: Json) -> Json:
    """Add up the token counts of two answers."""
    total = dict(one)
    for name, value in other.items():
        if isinstance(value, dict):
            known = total.get(name)
            total[name] = _added(known if isinstance(known, dict) else {}, value)
        elif isinstance(value, int) and not isinstance(value, bool):
            known = total.get(name)  # some servers count null tokens
            total[name] = (known if isinstance(known, int) else 0) + value
        else:
            total.setdefault(name, value)
    return total
