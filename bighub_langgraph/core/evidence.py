"""What people and models are shown about a call: the call as data, and BIGHUB's evidence.

Whatever a model may have written is shown on one line, with control characters, bidirectional marks
and markup escaped. Evidence never names the target of another call.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any

from bighub_langgraph.core.jsonable import MAPPING, truncate
from bighub_langgraph.core.models import ASKABLE_STATES, Approval, CallRecord, State
from bighub_langgraph.core.redaction import redact_text

MAX_ROWS = 3
MAX_ARGUMENTS = 30
LONGEST_ARGUMENT = 300
RISK_WORDS = ((0.25, "low risk"), (0.5, "some risk"), (0.75, "high risk"))
ANOTHER_TARGET = "another target"


# -- data as text ----------------------------------------------------------------------------------


def format_call(
    tool: str, arguments: Mapping[str, Any], parameters: Collection[str] | None = None
) -> str:
    """Return a tool call as people read it, such as `refund(order='o1', amount=5)`.

    Each argument is cut by itself and says how long it is. Those that are none of the tool's
    `parameters`, where these are known, come last as further arguments.
    """
    texts = {
        name: f"{_format_name(name)}={truncate(_escape(repr(value)), LONGEST_ARGUMENT)}"
        for name, value in arguments.items()
    }
    own = [text for name, text in texts.items() if parameters is None or name in parameters]
    other_texts = [text for text in texts.values() if text not in own]
    members = [*own, *other_texts]
    if other_texts:
        members[len(own)] = f"further arguments: {other_texts[0]}"
    if len(members) > MAX_ARGUMENTS:
        members[MAX_ARGUMENTS:] = [f"[... {len(members)} arguments in all]"]
    return f"{_format_name(tool)}({', '.join(members)})"


def one_line(text: str, max_length: int = 600) -> str:
    """Return a text on one line as data, at most so long."""
    return truncate(_escape(" ".join(text.split())), max_length)


def describe_risk(score: float | None) -> str:
    """Return a risk score in words."""
    if score is None:
        return "unknown risk"
    return f"{risk_in_words(score)} ({score:.2f})"


def risk_in_words(score: float) -> str:
    """Return how large a risk is."""
    return next((words for limit, words in RISK_WORDS if score < limit), "very high risk")


def _format_name(name: str) -> str:
    # Letters of other alphabets look like those of another name.
    is_plain = name.isascii() and name.isidentifier()
    return truncate(name if is_plain else _escape(ascii(name)), LONGEST_ARGUMENT)


def _escape(text: str) -> str:
    text = _MARKUP.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


# What begins a tag, code, the address of a link or image, or emphasis, in HTML and Markdown.
_MARKUP = re.compile(r"<(?=[A-Za-z/!?])|`|(?<=\])\(|\*(?=\S)|(?<=\S)\*")


# -- BIGHUB's evidence, without other targets ------------------------------------------------------


def visible_text(text: str, record: CallRecord) -> str:
    """Return a text of BIGHUB, such as its rationale, without the targets of other calls.

    These are the targets that the evidence names, addresses, and what a call is written to be for.
    """
    own = _collect_own_names(record)
    calls = re.finditer(rf"(?<!\w)(?P<call>{re.escape(record.request.action)}{_DETAILS}", text)
    other_targets = {*_find_other_targets(record, own), *_ADDRESS.findall(text)}
    other_targets |= {
        match["target"].split()[0].strip(".,;:") for match in calls if match["target"]
    }
    for target in sorted(other_targets - own, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(target)}(?!\w)", ANOTHER_TARGET, text)
    return text


def visible_alternatives(record: CallRecord) -> list[dict[str, Any]]:
    """Return BIGHUB's alternatives, except those that name somebody or something else."""
    own = _collect_own_names(record)
    rows = record.decision.alternatives if record.decision is not None else ()
    visible = []
    for row in rows:
        action = str(row.get("action", ""))
        is_same_action = action in {record.tool, record.request.action}
        if is_same_action or _has_other_target(row, own) or _mentions_other(action, own):
            continue
        shown_fields = {
            name: value
            for name, value in row.items()
            if isinstance(value, int | float)
            or (isinstance(value, str) and not _mentions_other(value, own))
        }
        visible.append(shown_fields)
    return visible


def visible_precedents(record: CallRecord) -> list[dict[str, Any]]:
    """Return the earlier calls that BIGHUB lists; what names another target says only that."""
    own = _collect_own_names(record)
    rows = record.decision.precedents if record.decision is not None else ()
    visible = []
    for row in rows:
        texts = {name: str(row[name]) for name in _TEXTS if row.get(name)}
        if _has_other_target(row, own) or any(
            _mentions_other(text, own) for text in texts.values()
        ):
            texts = {name: _remove_target(text) for name, text in texts.items()}
        kept_fields = {name: value for name, value in row.items() if _is_kept(name, value)}
        visible.append({**kept_fields, **texts})
    return visible


_TEXTS = ("summary", "action")


def _is_kept(name: str, value: object) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and name in _PRECEDENT_FIELDS)


_PRECEDENT_FIELDS = frozenset(
    ("request_id", "outcome", "label", "status", "recommendation", "at", "timestamp")
)


def _remove_target(text: str) -> str:
    match = _CALL.match(text)
    head = match["call"] if match is not None else "a call"
    return f"{head} ({ANOTHER_TARGET})"


def _has_other_target(row: Mapping[str, Any], own: Collection[str]) -> bool:
    target = row.get("target")
    return target is not None and str(target) not in own


def _find_other_targets(record: CallRecord, own: Collection[str]) -> Iterator[str]:
    """Yield the targets of other calls that a decision's evidence names."""
    decision = record.decision
    rows = (*decision.alternatives, *decision.precedents) if decision is not None else ()
    for row in rows:
        texts = [row.get("target")]
        texts += [match["target"] for name in _TEXTS if (match := _CALL.match(str(row.get(name))))]
        yield from (text for text in texts if isinstance(text, str) and text not in own)


def _collect_own_names(record: CallRecord) -> set[str]:
    """Return what the call itself names: its action, target, and whatever its arguments hold."""
    request = record.request
    value = "" if request.value is None else f"{request.value:g}"
    names = {record.tool, request.action, str(request.target), value}
    values: list[Any] = [request.context.get("arguments")]
    while values:
        value = values.pop()
        if isinstance(value, MAPPING):
            values += value.values()
        elif isinstance(value, list | tuple):
            values += value
        else:
            names |= {str(value), *str(value).split()}
    return names


def _mentions_other(text: str, own: Collection[str]) -> bool:
    """Whether a text may name somebody or something that the call itself does not name.

    A single word is an action. Otherwise numbers, capitals, signs as in addresses and identifiers,
    and a single word behind "for" or "to" name something, unless the call has it too.
    """
    match = _CALL.fullmatch(text)
    if match is not None:
        return match["target"] is not None and match["target"] not in own
    words = [word.strip(".,;:!?()") for word in text.split()]
    for before, word in pairwise(["", *words]):
        if word in own or not word:
            continue
        is_amount = before in _BEFORE_AMOUNT and _AMOUNT.fullmatch(word)
        is_last = before in _BEFORE_NAME and word == words[-1]
        if not is_amount and (is_last or not _WORD.fullmatch(word if before else word.lower())):
            return True
    return False


# As the embedded engine writes a call.
_DETAILS = r"(?: of (?:at most )?-?[\d.,e+]+)?)(?: for (?P<target>.+))?"
_CALL = re.compile(rf"(?P<call>[\w.-]+{_DETAILS}")
_ADDRESS = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_AMOUNT = re.compile(r"-?\d[\d.,]*%?")
_WORD = re.compile(r"[a-z]+(?:['_-][a-z]+)*")
_BEFORE_AMOUNT = frozenset({"of", "most", "least", "than", "over", "under", "below", "above"})
_BEFORE_NAME = frozenset({"for", "to", "from", "of", "at", "with", "by"})


# -- what an approver is shown ---------------------------------------------------------------------


def describe_call(
    record: CallRecord,
    arguments: Mapping[str, Any],
    parameters: Collection[str] | None = None,
    evidence: Mapping[str, Any] | None = None,
) -> str:
    """Return the text that a person reads before answering.

    The first line is the call; see `format_call` for the tool's `parameters`. `evidence` is what
    `build_evidence` has returned, where it is known already.
    """
    lines = [format_call(record.tool, arguments, parameters)]
    if record.state is State.UNKNOWN:
        reason = one_line(record.reason)
        lines += [
            f"This call was started, and whether it took effect is not known: {reason}.",
            (
                'Answer "ran" with what it returned, "failed" if it did not take effect and must '
                'not, or "run again". A form without these takes them as a response.'
            ),
        ]
    evidence = build_evidence(record) if evidence is None else evidence
    return "\n".join([*lines, *(_describe_decision(evidence) if record.decision else ())])


def is_asked_about(record: CallRecord) -> bool:
    """Whether a person is asked about a call, or has answered."""
    return record.state in ASKABLE_STATES or record.approval is not None


def describe_reason(record: CallRecord) -> str:
    """Return why a call was blocked or ended; secrets that a person typed are redacted."""
    is_typed = record.approval is not None and record.reason == record.approval.text
    return redact_text(record.reason) if is_typed else record.reason


def build_approval_view(approval: Approval) -> dict[str, Any]:
    """Return an answer as the history shows it; secrets that the person typed are redacted."""
    view = asdict(approval)
    view |= {name: redact_text(view[name]) for name in ("text", "comment")}
    if approval.edit is not None:
        view["edit"]["values"] = approval.edit.redacted_values
    return view


def _describe_decision(evidence: Mapping[str, Any]) -> Iterator[str]:
    heading = f"BIGHUB says {one_line(evidence['recommendation']).replace('_', ' ')}"
    if evidence["risk_score"] is not None:
        heading += f", risk {evidence['risk_score']:.2f}"
    if evidence["confidence"] is not None:
        heading += f", confidence {one_line(evidence['confidence'])}"
    yield f"{heading}."
    # The heading has the number already.
    if reason := re.sub(r"^risk [\d.]+: ", "", evidence["rationale"]):
        yield one_line(reason)
    for row in evidence["alternatives"][:MAX_ROWS]:
        yield from _describe_row("Instead", row, ("action",), "rationale")
    for row in evidence["precedents"][:MAX_ROWS]:
        yield from _describe_row("Earlier", row, _TEXTS, "outcome")


def _describe_row(
    title: str, row: Mapping[str, Any], names: Sequence[str], about: str
) -> Iterator[str]:
    if text := next((str(row[name]) for name in names if row.get(name)), ""):
        details = f": {row[about]}" if row.get(about) else ""
        yield f"{title}: {one_line(text + details, 200)}"


def describe_votes(record: CallRecord) -> str:
    """Return who has approved a call that several people have to approve; "" for any other."""
    requirement = record.requirement
    asks = {
        State.AWAITING: "have to approve it",
        State.UNKNOWN: "have to approve that it runs again",
    }
    if requirement.approvals == 1 or record.state not in asks:
        return ""
    names = " and ".join(one_line(vote.approver) for vote in record.votes)
    suffix = f"; {names} approved it" if names else ""
    return f"{requirement.approvals} people who are signed in {asks[record.state]}{suffix}."


def build_evidence(record: CallRecord) -> dict[str, Any]:
    """Build the same for programs: JSON-compatible, under the `bighub` key of a request."""
    evidence: dict[str, Any] = {
        "tool_call_id": record.call_id,
        "key": record.key,
        "state": record.state.value,
        "starts": record.starts,
        "expires_at": record.expires_at,
    }
    decision = record.decision
    if decision is None:
        return evidence
    return evidence | {
        "recommendation": decision.raw_recommendation,
        "confidence": decision.confidence,
        "risk_score": decision.risk_score,
        "rationale": visible_text(decision.reason, record),
        "alternatives": visible_alternatives(record),
        "precedents": visible_precedents(record),
        "trajectory_health": decision.trajectory_health,
        "request_id": decision.request_id,
    }
