"""The life of a call as flows: consider, answer, execute. Each written once, for both colours."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bighub_langgraph.core.call import ToolCall
from bighub_langgraph.core.decision import Decision, no_decision, parse_decision
from bighub_langgraph.core.errors import EngineError, IllegalMove, InvalidCall
from bighub_langgraph.core.policy import Rules
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.core.proposing import propose
from bighub_langgraph.core.record import Approval, Proposal, Record, Result
from bighub_langgraph.core.transitions import (
    Answered,
    Closed,
    Decided,
    Event,
    Finished,
    Interrupted,
    Lost,
    Released,
    Started,
    advance,
)
from bighub_langgraph.core.verdict import resolve
from bighub_langgraph.core.words import State, Verdict

log = logging.getLogger("bighub_langgraph")


@dataclass(frozen=True, slots=True)
class Refused:
    """A call that cannot even be proposed: the model gets the error, BIGHUB is not asked."""

    call: ToolCall
    error: InvalidCall


@dataclass(frozen=True, slots=True)
class Paused:
    """The tool asks a person something itself; `signal` is what the framework wants raised."""

    signal: BaseException


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of an attempt to run a call.

    Attributes:
        record: What the journal says now.
        replayed: Whether the result is an earlier one, handed out again.
        signal: What the framework must see raised, after the record is settled.
    """

    record: Record
    replayed: bool = False
    signal: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Edited:
    """A call with arguments that a person wrote, and that person's yes to them."""

    call: ToolCall
    approval: Approval
    edited_from: str


async def consider(
    calls: Sequence[ToolCall | Edited],
    rules: Rules,
    ports: Ports,
    *,
    session: str | None = None,
    trajectory: str | None = None,
) -> list[Record | Refused]:
    """Ask BIGHUB about the calls of a turn, side by side, and record what it says.

    A call that was decided before keeps that decision for ever.
    """
    proposed = [_proposed(call, rules, ports.clock(), session, trajectory) for call in calls]
    known = await ports.find([one.key for one in proposed if isinstance(one, Record)])
    fresh = [
        (one, call)
        for one, call in zip(proposed, calls, strict=True)
        if isinstance(one, Record) and one.key not in known
    ]
    decided = await ports.gather([_decide(one, call, rules, ports) for one, call in fresh])
    for record in await ports.open(decided) if decided else ():
        known[record.key] = record
    return [known[one.key] if isinstance(one, Record) else one for one in proposed]


async def decide(proposal: Proposal, key: str, rules: Rules, ports: Ports) -> Decision:
    """Ask BIGHUB once; whatever goes wrong becomes a decision that says so."""
    try:
        return parse_decision(await ports.engine.ask(proposal, key))
    except EngineError as error:
        decision = no_decision(error, rules.fail_mode)
        level = logging.WARNING if decision.fault == "unavailable" else logging.ERROR
        log.log(level, "%s of %s: %s", proposal.action, proposal.actor, decision.reason)
        return decision


async def answer(record: Record, approval: Approval, ports: Ports) -> Record:
    """Settle a person's answer. The first one wins; the journal's record is returned."""
    return await settled(record.key, Answered(approval), ports)


async def close(record: Record, reason: str, ports: Ports) -> Record:
    """End a call that nobody will answer any more."""
    return await settled(record.key, Closed(reason), ports)


async def settled(key: str, event: Event, ports: Ports) -> Record:
    """Make a move, or return what the journal says where it was made differently before."""
    try:
        return await ports.move(key, event)
    except IllegalMove:
        return (await ports.find([key]))[key]


async def execute(
    key: str, ports: Ports, run: Callable[[Record], Awaitable[Result | Paused]]
) -> Ran:
    """Run a call once.

    The claim is durable before the tool starts. A call that was started before gets what became of
    it then, also when that is not known.
    """
    try:
        claimed = await ports.move(key, Started(ports.journal.owner, ports.clock()))
    except IllegalMove:
        known = await ports.find([key])
        return Ran(known[key], replayed=True)
    if claimed.state is not State.RUNNING:  # the approval ran out
        return Ran(claimed)
    return await _run_claimed(claimed, ports, run)


async def _run_claimed(
    claimed: Record, ports: Ports, run: Callable[[Record], Awaitable[Result | Paused]]
) -> Ran:
    owner = ports.journal.owner
    try:
        result = await run(claimed)
    except NotBegun as early:
        return Ran(await ports.move(claimed.key, Released(owner)), signal=early.signal)
    except BaseException as error:
        # Cancelled or told to exit inside the tool: whether it took effect, nobody here knows. The
        # note is written in place, for a cancelled coroutine may not be allowed to wait again.
        ports.move_now(claimed.key, Lost(owner, f"stopped by {type(error).__name__}"))
        raise
    if isinstance(result, Paused):
        return Ran(await ports.move(claimed.key, Interrupted(owner)), signal=result.signal)
    return Ran(await _finish(claimed, result, ports))


class NotBegun(Exception):
    """Raised by a host's `run` when it was stopped before the tool began."""

    def __init__(self, signal: BaseException) -> None:
        self.signal = signal
        super().__init__(str(signal))


async def _finish(claimed: Record, result: Result, ports: Ports) -> Record:
    event = Finished(ports.journal.owner, result)
    try:
        return await ports.move(claimed.key, event)
    except Exception:
        # The tool has run; nothing may raise past that. The claim stays, so it cannot run again.
        log.exception(
            "call %s (%s) ran, but the journal could not take its result; it will show as in doubt",
            claimed.key[:12],
            claimed.tool,
        )
        return advance(claimed, event)


def _proposed(
    one: ToolCall | Edited, rules: Rules, at: float, session: str | None, trajectory: str | None
) -> Record | Refused:
    call = one.call if isinstance(one, Edited) else one
    try:
        proposal = propose(call, rules, session=session, trajectory=trajectory)
        return Record.of(call, proposal, at)
    except InvalidCall as error:
        return Refused(call, error)


async def _decide(record: Record, asked: ToolCall | Edited, rules: Rules, ports: Ports) -> Record:
    decision = await decide(record.proposal, record.key, rules, ports)
    review = rules.policy(record.tool).always_review
    floor = Verdict.REVIEW if review else Verdict.EXECUTE
    verdict = resolve(decision, floor, rules.minimum_mode)
    edited = asked if isinstance(asked, Edited) else None
    after = rules.approvals.expires_after
    return advance(
        record,
        Decided(
            decision,
            verdict,
            approval=edited.approval if edited else None,
            edited_from=edited.edited_from if edited else None,
            expires_at=ports.clock() + after if after else None,
        ),
    )
