"""The demo's run: customers write, the agent serves them, and some troubles come to light later."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bighub_langgraph import BighubGuard
from bighub_langgraph.cli.demo.approving import Approver
from bighub_langgraph.cli.demo.desk import Agent, Conversation
from bighub_langgraph.cli.demo.requests import Later, Request
from bighub_langgraph.cli.demo.seen import Seen


@dataclass(frozen=True, slots=True)
class Came:
    """A customer's request came in."""

    number: int
    request: Request


@dataclass(frozen=True, slots=True)
class CameToLight:
    """What a call really led to was found out, and BIGHUB was told."""

    call: Seen
    trouble: Later


def story(
    requests: Sequence[Request], *, agent: Agent, guard: BighubGuard, approve: Approver, run: str
) -> Iterator[Came | Seen | CameToLight]:
    """Serve the requests one after the other; `run` names their threads."""
    open_troubles: list[CameToLight] = []
    for number, request in enumerate(requests, start=1):
        yield Came(number, request)
        for call in Conversation(number, request, f"{run}-{number}", approve).serve(agent):
            yield call
            if call.trouble is not None and call.outcome == "SUCCESS":
                open_troubles.append(CameToLight(call, call.trouble))
        due = [one for one in open_troubles if one.call.request + one.trouble.after <= number]
        open_troubles = [one for one in open_troubles if one not in due]
        yield from _told(due, guard)
    yield from _told(open_troubles, guard)


def _told(found: Sequence[CameToLight], guard: BighubGuard) -> Iterator[CameToLight]:
    # What the guard itself reported of these calls must be there first.
    guard.flush()
    for one in found:
        guard.client.outcomes.report(
            request_id=one.call.request_id,
            status=one.trouble.status,
            description=one.trouble.because,
            production_action=one.call.tool,
            reported_by="the demo's story",
        )
        yield one
