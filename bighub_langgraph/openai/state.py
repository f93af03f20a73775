"""A stopped run: people answer its calls, it is stored as JSON, it goes on in any process."""

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from typing import Any

from bighub_langgraph.core.models import Answer
from bighub_langgraph.openai.approvals import edited, said
from bighub_langgraph.openai.errors import StateRefused
from bighub_langgraph.openai.replies import Reply
from bighub_langgraph.openai.talk import OpenCall, Talk, talk_from_json, talk_in_json
from bighub_langgraph.openai.tools import ToolRegistry

__all__ = ["VERSION", "RunState", "Stored", "fingerprints", "read_state", "refuse_changed"]

Json = dict[str, Any]

VERSION = 1


class RunState:
    """A run that waits, or that broke off.

    Answer its `interruptions` and pass it to `runtime.resume`. Partial answers are fine: what
    nobody has answered waits on. Resuming the same state twice runs nothing twice.
    """

    def __init__(
        self,
        talk: Talk,
        reply: Reply,
        tools: ToolRegistry,
        *,
        clock: Callable[[], float],
        fingerprints: Mapping[str, str],
        signing_key: bytes | None = None,
    ) -> None:
        self.talk, self.reply, self.fingerprints = talk, reply, dict(fingerprints)
        self._tools, self._clock, self._signing_key = tools, clock, signing_key

    @property
    def interruptions(self) -> list[Json]:
        """What still waits for an answer."""
        return [deepcopy(call.waiting or {}) for call in self.talk.pending if call.answer is None]

    def approve(
        self, item: Any, *, approver: str = "", comment: str = "", always_approve: bool = False
    ) -> None:
        """Let a call run with the arguments shown.

        Args:
            item: One of `interruptions`, or its `call_id` or `request_id`.
            approver: Who says so; kept as a claim.
            comment: For BIGHUB and the record.
            always_approve: Let every call of this tool in the rounds to come pass where only a
                person was missing; what BIGHUB blocks stays blocked. Rejecting or editing a call of
                this tool, or answering this one anew, takes it back.
        """
        call = self._waiting(item)
        words = {"approver": approver, "comment": comment}
        self._keep(call, said(Answer.APPROVE, self._clock(), words))
        if always_approve:
            self.talk = replace(self.talk, always={**self.talk.always, call.tool: words})

    def reject(
        self, item: Any, *, rejection_message: str = "", approver: str = "", comment: str = ""
    ) -> None:
        """Do not let a call run; the model reads the message."""
        text = rejection_message or comment or "denied"
        words = {"approver": approver, "comment": comment}
        self._keep(self._waiting(item), said(Answer.REJECT, self._clock(), words, text=text))

    def edit(
        self, item: Any, *, arguments: Mapping[str, Any], approver: str = "", comment: str = ""
    ) -> None:
        """Let a call run with other arguments, once BIGHUB has seen them; they must fit."""
        call = self._waiting(item)
        words = {"approver": approver, "comment": comment}
        self._keep(call, edited(call, arguments, self._tools, self._clock(), words))

    def to_json(self) -> str:
        """The run as JSON text.

        Without a signing key whoever can write this text can make up a conversation and what people
        answered: keep it where only you can write.
        """
        blob = {
            "format": _FORMAT,
            "version": VERSION,
            "talk": talk_in_json(self.talk),
            "reply": asdict(self.reply),
            "fingerprints": self.fingerprints,
        }
        if self._signing_key is not None:
            blob["signature"] = _signature(blob, self._signing_key)
        return json.dumps(blob)

    def _waiting(self, item: Any) -> OpenCall:
        given = item if isinstance(item, Mapping) else {"call_id": item}
        names = [given.get("call_id"), given.get("request_id")]
        for call in self.talk.pending:
            known = (call.call_id, (call.waiting or {}).get("request_id"))
            if any(name is not None and name in known for name in names):
                return call
        waiting = ", ".join(call.call_id for call in self.talk.pending) or "nothing"
        raise StateRefused(f"{item!r:.80} is not waiting for an answer; waiting: {waiting}")

    def _keep(self, call: OpenCall, words: Json) -> None:
        calls = [replace(one, answer=words) if one is call else one for one in self.talk.open]
        always = dict(self.talk.always)
        # A second thought about a call, or a no to another of its tool, takes a standing yes back.
        if call.answer is not None or words["answer"] != Answer.APPROVE:
            always.pop(call.tool, None)
        self.talk = replace(self.talk, open=calls, always=always)


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored run that was read, and whether its signature proves that it is ours."""

    talk: Talk
    reply: Reply
    signed: bool


def read_state(blob: Any, tools: ToolRegistry, signing_key: bytes | None) -> Stored:
    """Read what `to_json` wrote; refuse a newer, a changed or a forged one."""
    said_ = _parsed(blob)
    if said_.get("format") != _FORMAT or not isinstance(said_.get("version"), int):
        raise StateRefused("this is not a run stored by `to_json`")
    if said_["version"] > VERSION:
        raise StateRefused(
            f"the run was stored by a newer version, {said_['version']}; this reads up to {VERSION}"
        )
    if signing_key is not None:
        expected = _signature({k: v for k, v in said_.items() if k != "signature"}, signing_key)
        if not hmac.compare_digest(expected, str(said_.get("signature", ""))):
            raise StateRefused(
                "the run's signature is missing or wrong; it was changed, or is not ours"
            )
    try:
        talk, reply = talk_from_json(said_["talk"]), Reply(**said_["reply"])
    except (KeyError, TypeError) as error:
        raise StateRefused(f"the stored run cannot be read: {error}") from error
    refuse_changed(talk, said_.get("fingerprints"), tools)
    return Stored(talk, reply, signing_key is not None)


def fingerprints(calls: Sequence[OpenCall], tools: ToolRegistry) -> dict[str, str]:
    """The fingerprints of the tools that some calls want to run."""
    wanted = {call.tool for call in calls if call.kind == "function"}
    return {tool.name: tool.fingerprint for tool in tools if tool.name in wanted}


_FORMAT = "bighub_langgraph.openai.run"


def _parsed(blob: Any) -> Json:
    try:
        said_ = json.loads(blob) if isinstance(blob, str | bytes | bytearray) else blob
    except ValueError as error:
        raise StateRefused(f"the stored run is not JSON: {error}") from error
    if not isinstance(said_, Mapping):
        raise StateRefused("the stored run is not a JSON object")
    return dict(said_)


def refuse_changed(talk: Talk, stored: Any, tools: ToolRegistry) -> None:
    """Refuse a run whose waiting calls want tools that are not the ones asked about."""
    now = fingerprints(talk.pending, tools)
    known = stored if isinstance(stored, Mapping) else {}
    for call in talk.pending:
        if call.kind == "function" and (
            call.tool not in now or known.get(call.tool) != now[call.tool]
        ):
            raise StateRefused(
                f"tool {call.tool!r} is not the one that was asked about: "
                "register it as it was, or start the run again"
            )


def _signature(blob: Mapping[str, Any], key: bytes) -> str:
    text = json.dumps(blob, sort_keys=True, separators=(",", ":")).encode()
    return hmac.new(key, text, hashlib.sha256).hexdigest()
