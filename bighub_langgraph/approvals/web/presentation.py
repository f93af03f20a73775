"""What the page shows: calls in plain sentences, risk in words, and text as what it is."""

import json
import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from markupsafe import Markup, escape

from bighub_langgraph.approvals.cards import ApprovalCard, describe_details, find_risk_score
from bighub_langgraph.core.call_endings import is_cancellable
from bighub_langgraph.core.evidence import risk_in_words
from bighub_langgraph.core.models import Answer, CallRecord, State

# -- text ------------------------------------------------------------------------------------------

# Control, bidirectional, zero-width and other characters without a shape of their own.
_INVISIBLE = re.compile(
    "([\x00-\x08\x0b-\x1f\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff0-\ufffb\ud800-\udfff\ue000-\uf8ff\U000e0000-\U000e0fff])\\1*"
)


def visible(value: object) -> Markup:
    """Return a text in which a character that cannot be seen stands by its number and name."""
    text, parts, end = str(value), [], 0
    for match in _INVISIBLE.finditer(text):
        parts += [escape(text[end : match.start()]), _mark_character(match[1], len(match[0]))]
        end = match.end()
    return Markup("").join([*parts, escape(text[end:])])


def _mark_character(character: str, count: int) -> Markup:
    name = unicodedata.name(character, "control character").lower()
    repetition = f" x{count}" if count > 1 else ""
    return Markup('<span class="mark" title="{}">U+{:04X}{}</span>').format(
        name, ord(character), repetition
    )


def as_text(value: object) -> str:
    """Return JSON-compatible data as text: a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def type_name(value: object) -> str:
    """Return what a value is, in a word."""
    names = {str: "text", bool: "yes or no", int: "number", float: "number", list: "list"}
    return "nothing" if value is None else names.get(type(value), "object")


def shorten(text: str, length: int = 160) -> str:
    """Return the beginning of a text."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def iso(at: float) -> str:
    """Return a time as `<time>` takes it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def utc(at: float) -> str:
    """Return a time as people read it, until the script shows it in their own time zone."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


# -- calls -----------------------------------------------------------------------------------------


class Risk(NamedTuple):
    """A risk in words and as a share of a bar; `tone` is one of none, low, medium, high."""

    words: str
    tone: str
    percent: int
    score: str


def risk_of(record: CallRecord) -> Risk:
    """Return the risk that BIGHUB sees."""
    score = find_risk_score(record)
    if score is None:
        return Risk("Risk not known", "none", 0, "")
    words = risk_in_words(score)
    tone = {"low risk": "low", "some risk": "medium"}.get(words, "high")
    return Risk(words.capitalize(), tone, round(100 * min(max(score, 0.0), 1.0)), f"{score:.2f}")


RECOMMENDATIONS = {
    "proceed": "BIGHUB would let it run; the settings ask a person all the same",
    "proceed_with_caution": "BIGHUB would let it run with caution",
    "review_recommended": "BIGHUB recommends that a person looks at it",
    "do_not_proceed": "BIGHUB recommends not to run it",
}
CONFIDENCES = {"high": "sure", "medium": "fairly sure", "low": "not sure yet"}


class StatusText(NamedTuple):
    """The state of a call in words; `tone` is one of wait, good, bad, calm."""

    words: str
    tone: str
    sentence: str


STATUSES: dict[State, StatusText] = {
    State.PROPOSED: StatusText("Not evaluated", "calm", "BIGHUB has not evaluated it yet."),
    State.AWAITING: StatusText("Waits", "wait", "It waits for a person's answer."),
    State.ALLOWED: StatusText("Allowed", "good", "It may run, and does when its agent goes on."),
    State.RUNNING: StatusText("Running", "good", "The tool is running."),
    State.PAUSED: StatusText("Paused", "calm", "The tool itself waits for something."),
    State.UNKNOWN: StatusText(
        "Outcome unknown", "wait", "It was started; nobody knows if it took effect."
    ),
    State.EXECUTED: StatusText("Executed", "good", "The tool ran."),
    State.TOOL_ERROR: StatusText("Failed", "bad", "The tool ran and raised an error."),
    State.BLOCKED: StatusText("Rejected", "bad", "It did not run."),
    State.ANSWERED: StatusText(
        "Answered", "good", "A person's response stands in for the tool's output."
    ),
    State.EDITED: StatusText("Edited", "good", "A person changed its arguments."),
    State.EXPIRED: StatusText("Expired", "calm", "Nobody answered in time, and it did not run."),
    State.CANCELLED: StatusText(
        "Cancelled", "calm", "Nobody waits for it any more, and it did not run."
    ),
}
EVENTS = {
    "DecisionMade": "BIGHUB evaluated it",
    "PersonAsked": "A person was asked",
    "AnswerGiven": "A person answered",
    "EditApplied": "Its agent applied the edit",
    "CallCancelled": "It was cancelled",
    "CallExpired": "Its time was over",
    "NobodyToAsk": "Nobody could be asked",
    "ExecutionStarted": "The tool started",
    "ExecutionFinished": "The tool ended",
    "ExecutionPaused": "The tool paused",
    "ClaimReleased": "The start was taken back",
    "OwnerLost": "The process that ran it ended",
    "OutcomeResolved": "Its outcome was found out",
    "RerunAllowed": "Asked to run again",
}


class Choice(NamedTuple):
    """An answer as the page offers it: a name, a hint, and the label of its text, if it has one."""

    name: str
    hint: str
    text: str


ANSWERS: dict[Answer, Choice] = {
    Answer.APPROVE: Choice("Approve", "It runs with exactly these arguments.", ""),
    Answer.EDIT: Choice("Edit and approve", "It runs with your changes, if BIGHUB agrees.", ""),
    Answer.REJECT: Choice(
        "Reject", "It does not run, and the agent reads why.", "Reason, which the agent reads"
    ),
    Answer.RESPOND: Choice(
        "Respond", "It does not run. The agent reads your text as the result.", "Your response"
    ),
}
# What became of a call whose outcome is unknown.
OUTCOMES: dict[Answer, Choice] = {
    Answer.RESPOND: Choice(
        "It took effect", "It is not run again.", "What it returned, which the agent reads"
    ),
    Answer.REJECT: Choice(
        "It did not, and must not", "It is not run again.", "Why, which the agent reads"
    ),
    Answer.APPROVE: Choice("It did not; run it again", "The tool is started once more.", ""),
}
CANCEL = "cancel"
_CANCELLATION = Choice(
    "Cancel the call",
    "It does not run, and the agent reads why. This is no answer: BIGHUB learns nothing from it.",
    "Reason, which the agent reads",
)


def list_choices(card: ApprovalCard) -> dict[str, Choice]:
    """Return what a person can do about a call now, by the name that the form sends."""
    answers = OUTCOMES if card.outcome_unknown else ANSWERS
    choices: dict[str, Choice] = {
        answer.value: choice for answer, choice in answers.items() if answer in card.allowed_answers
    }
    return choices | ({CANCEL: _CANCELLATION} if is_cancellable(card.record) else {})


def sentence(record: CallRecord, agent: str) -> Iterator[tuple[str, bool]]:
    """Yield the parts of one plain sentence of what the agent wants; True marks data."""
    request = record.request
    yield (agent, True) if agent else ("An agent", False)
    yield " wants to run ", False
    yield request.action, True
    if request.target:
        yield " on ", False
        yield shorten(str(request.target), 80), True
    if request.value is not None:
        yield " with a value of ", False
        yield f"{request.value:,.12g}", True


# What templates use by its name, and as a filter.
GLOBALS = {
    "STATUSES": STATUSES,
    "EVENTS": EVENTS,
    "RECOMMENDATIONS": RECOMMENDATIONS,
    "CONFIDENCES": CONFIDENCES,
    "describe_details": describe_details,
    "risk_of": risk_of,
    "sentence": sentence,
}
FILTERS = {item.__name__: item for item in (visible, as_text, type_name, shorten, iso, utc)}
