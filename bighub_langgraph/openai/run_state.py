"""A stopped run: people answer its calls, it is stored as JSON, and resumed in any process.

A stored run is verified when it is loaded, see `run_verification`.
"""

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, NamedTuple

from bighub_langgraph.core.models import Answer, Approval
from bighub_langgraph.openai.errors import InvalidRunState
from bighub_langgraph.openai.response_parsing import ModelResponse
from bighub_langgraph.openai.run import Run, ToolCallState
from bighub_langgraph.openai.run_approvals import answer_with_arguments
from bighub_langgraph.openai.run_verification import FORMAT, VERSION, sign_blob
from bighub_langgraph.openai.tools import ToolRegistry

Json = dict[str, Any]
# What an answer may name its call by.
_CALL_NAMES = ("call_id", "request_id")


class PickledRunState(NamedTuple):
    """A run state that was pickled: load it with `runtime.state_from_json`, or resume it as it is.

    It holds the text of `to_json`: no keys of services, and the calls are verified when it is
    loaded.
    """

    blob: str

    def to_json(self) -> str:
        """Return the run as JSON text."""
        return self.blob


class RunState:
    """A run that waits for people, or that failed.

    Answer its `interruptions` and pass it to `runtime.resume`. Calls that nobody has answered stay
    pending, see `record_answers`. Resuming the same state twice runs nothing twice.
    """

    def __init__(
        self,
        run: Run,
        response: ModelResponse,
        tools: ToolRegistry,
        *,
        clock: Callable[[], float],
        fingerprints: Mapping[str, str],
        signing_key: bytes | None = None,
    ) -> None:
        self.run, self.response, self.fingerprints = run, response, dict(fingerprints)
        self._tools, self._clock, self._signing_key = tools, clock, signing_key

    def __reduce__(self) -> tuple[Any, ...]:
        return PickledRunState, (self.to_json(),)

    def __copy__(self) -> "RunState":
        return RunState(
            self.run,
            self.response,
            self._tools,
            clock=self._clock,
            fingerprints=self.fingerprints,
            signing_key=self._signing_key,
        )

    def __deepcopy__(self, _: Any) -> "RunState":
        return self.__copy__()  # the run within is replaced, never changed

    @property
    def interruptions(self) -> list[Json]:
        """The events of the calls that wait for an answer."""
        return [deepcopy(call.event) for call in self.run.pending_calls if call.approval is None]

    def approve(
        self, item: Any, *, approver: str = "", comment: str = "", always_approve: bool = False
    ) -> None:
        """Let a call run with the arguments shown.

        Args:
            item: One of `interruptions`, or its `call_id` or `request_id`.
            approver: The person's name; stored as a claim.
            comment: For BIGHUB and the record.
            always_approve: Approve later calls of this tool in this run too, where only a person's
                approval is missing. The same name on a hosted server, or on another one, is another
                tool, and a call that BIGHUB recommends against is never covered. Rejecting or
                editing a call of the tool, or answering this one again, ends it.
        """
        call = self._find_pending(item)
        approval = Approval(Answer.APPROVE, self._clock(), comment=comment, approver=approver)
        self._keep(call, call._replace(approval=approval))
        if always_approve:
            approvals = dict(self.run.standing_approvals)
            approvals[call.approval_scope] = {"approver": approver, "comment": comment}
            self.run = self.run._replace(standing_approvals=approvals)

    def reject(
        self, item: Any, *, rejection_message: str = "", approver: str = "", comment: str = ""
    ) -> None:
        """Block a call; the model reads the message."""
        call = self._find_pending(item)
        text = rejection_message or comment or "denied"
        approval = Approval(Answer.REJECT, self._clock(), text, comment, approver)
        self._keep(call, call._replace(approval=approval))

    def edit(
        self, item: Any, *, arguments: Mapping[str, Any], approver: str = "", comment: str = ""
    ) -> None:
        """Let a call run with other arguments, once BIGHUB has evaluated them.

        Raises:
            InvalidCall: The arguments do not fit the tool.
        """
        call = self._find_pending(item)
        approval = Approval(Answer.APPROVE, self._clock(), comment=comment, approver=approver)
        self._keep(call, answer_with_arguments(call, arguments, approval, self._tools))

    def to_json(self) -> str:
        """Return the run as JSON text.

        Without a signing key, anyone who can change the text can change the conversation and
        people's answers: store it where only you can write.
        """
        blob = {
            "format": FORMAT,
            "version": VERSION,
            "run": self.run.to_json(),
            "response": self.response._asdict(),
            "fingerprints": self.fingerprints,
        }
        if self._signing_key is not None:
            blob["signature"] = sign_blob(blob, self._signing_key)
        return json.dumps(blob)

    def _find_pending(self, item: Any) -> ToolCallState:
        calls = self.run.pending_calls
        if isinstance(item, Mapping):
            # Both, where it has both: a call of an earlier turn may have had the same id.
            ids = {name: item[name] for name in _CALL_NAMES if item.get(name) is not None}
            matches = [
                call
                for call in calls
                if ids and all(getattr(call, name) == value for name, value in ids.items())
            ]
        else:
            matches = [call for call in calls if call.call_id == item]
            matches = matches or [call for call in calls if call.request_id == item]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise InvalidRunState(
                f"{item!r:.80} names {len(matches)} calls; name one of them by its call_id"
            )
        pending_ids = ", ".join(call.call_id for call in calls) or "nothing"
        raise InvalidRunState(f"{item!r:.80} is not waiting for an answer; waiting: {pending_ids}")

    def _keep(self, before: ToolCallState, answered_call: ToolCallState) -> None:
        calls = [answered_call if call is before else call for call in self.run.calls]
        standing_approvals = dict(self.run.standing_approvals)
        is_approved = (
            answered_call.approval is not None and answered_call.approval.answer is Answer.APPROVE
        )
        if before.approval is not None or not is_approved:
            standing_approvals.pop(before.approval_scope, None)
        self.run = self.run._replace(calls=calls, standing_approvals=standing_approvals)
