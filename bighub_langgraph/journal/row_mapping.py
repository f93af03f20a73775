"""Records, questions and reports as rows and back."""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any, TypeVar

from bighub_langgraph.core.decision import parse_decision
from bighub_langgraph.core.errors import JournalError
from bighub_langgraph.core.evidence import build_approval_view, describe_reason, is_asked_about
from bighub_langgraph.core.jsonable import to_jsonable
from bighub_langgraph.core.lifecycle import CallCancelled, Event
from bighub_langgraph.core.models import (
    Answer,
    Approval,
    ApprovalRequirement,
    CallRecord,
    Decision,
    EvaluationRequest,
    Recommendation,
    State,
    ToolFailed,
    ToolSucceeded,
)
from bighub_langgraph.core.ports import MEMORY_GRACE, ApprovalQuestion, QueuedReport
from bighub_langgraph.core.reporting import (
    Report,
    ReportingConfig,
    ReportKind,
    build_reports,
    decision_fields,
)
from bighub_langgraph.journal.result_codecs import dump_result, load_result

log = logging.getLogger("bighub_langgraph")

Row = TypeVar("Row")
View = TypeVar("View")

# -- records ---------------------------------------------------------------------------------------


def record_to_row(record: CallRecord, at: float) -> dict[str, Any]:
    """Return a record as a row of the calls table."""
    return {
        "key": record.key,
        **{name: to_storable(getattr(record, name)) for name in _NAMES},
        "request_id": to_storable(record.request_id) if record.request_id else None,
        "created_at": record.created_at,
        "body": json.dumps(_build_body(record)),
        **transition_to_row(record, at),
    }


def transition_to_row(record: CallRecord, at: float) -> dict[str, Any]:
    """Return the columns a transition may change."""
    codec, result = dump_result(record.result)
    outcome = record.result
    error = outcome.error if isinstance(outcome, ToolFailed) else None
    votes = [asdict(vote) for vote in record.votes]
    refused_answers = [asdict(answer) for answer in record.refused_answers]
    content = to_jsonable(outcome.content) if isinstance(outcome, ToolSucceeded) else None
    approval = asdict(record.approval) if record.approval else None
    return {
        "state": record.state.value,
        "version": record.version,
        "updated_at": at,
        "owner": record.owner,
        "starts": record.starts,
        "expires_at": record.expires_at,
        "details": json.dumps(
            {
                "reason": record.reason,
                "error": error,
                "content": content,
                "approval": approval,
                "votes": votes,
                **({"refused_answers": refused_answers} if refused_answers else {}),
            }
        ),
        "codec": codec,
        "result": result,
    }


def record_from_row(row: Mapping[str, Any]) -> CallRecord:
    """Return the record of a row.

    Raises:
        JournalError: It cannot be read, so nothing may run under its key.
    """
    try:
        return _parse_record(row)
    except JournalError:
        raise
    except Exception as error:
        raise _build_read_error(
            f"the row of call {row['key']}", "bighub_calls", error, ", so the call does not run"
        ) from error


@contextmanager
def name_row(name: str, table: str) -> Iterator[None]:
    """Raise whatever is wrong with a row that is read in the block as an error that names it.

    Raises:
        JournalError: The row cannot be read.
    """
    try:
        yield
    except JournalError:
        raise
    except Exception as error:
        raise _build_read_error(name, table, error) from error


def _build_read_error(name: str, table: str, error: Exception, effect: str = "") -> JournalError:
    return JournalError(
        f"{name} cannot be read{effect}: {error!r:.200}; "
        f"restore it in {table} from a backup of the journal"
    )


def read_rows(rows: Iterable[Row], build_view: Callable[[Row], View]) -> list[View]:
    """Return what is read from rows; one that cannot be read is logged and hides no other."""
    views = []
    for row in rows:
        try:
            views.append(build_view(row))
        except JournalError as error:
            log.error("%s", error)  # noqa: TRY400 - it says it all
    return views


def _parse_record(row: Mapping[str, Any]) -> CallRecord:
    body = json.loads(row["body"])
    details = json.loads(row["details"])
    approval = details["approval"]
    return CallRecord(
        key=row["key"],
        **{name: row[name] for name in _NAMES} | body["names"],
        request=EvaluationRequest(**body["request"]),
        state=State(row["state"]),
        decision=_parse_stored_decision(body["decision"]),
        approval=approval and _parse_approval(approval),
        requirement=_parse_requirement(body["requirement"]),
        votes=tuple(map(_parse_approval, details["votes"])),
        refused_answers=tuple(map(_parse_approval, details.get("refused_answers", ()))),
        edited_from=body["edited_from"],
        result=load_result(row["codec"], row["result"], details),
        reason=details["reason"],
        owner=row["owner"],
        starts=row["starts"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        version=row["version"],
        root_checkpoint=body["root_checkpoint"],
        trace_context=body.get("trace_context"),
    )


def _parse_approval(body: Mapping[str, Any]) -> Approval:
    return Approval(**{**body, "answer": Answer(body["answer"])})


def _parse_requirement(body: Mapping[str, Any]) -> ApprovalRequirement:
    return ApprovalRequirement(**{**body, "approvers": tuple(body["approvers"])})


_NAMES = ("thread", "turn", "call_id", "tool")


def to_storable(text: str) -> str:
    """Return a text both databases take: without NUL and without lone surrogates."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\\0").encode(errors="backslashreplace").decode()


def _build_body(record: CallRecord) -> dict[str, Any]:
    names = {name: getattr(record, name) for name in _NAMES}
    decision, trace_context = record.decision, record.trace_context
    return {
        **({"trace_context": dict(trace_context)} if trace_context else {}),
        "request": vars(record.request),
        "decision": decision and {"reply": decision.reply, "fault": decision.fault},
        "edited_from": record.edited_from,
        "requirement": record.requirement._asdict(),
        "root_checkpoint": record.root_checkpoint,
        # The exact names, where the columns cannot hold them.
        "names": {name: text for name, text in names.items() if to_storable(text) != text},
    }


def _parse_stored_decision(body: Mapping[str, Any] | None) -> Decision | None:
    if body is None:
        return None
    reply = body["reply"]
    if not body["fault"]:
        return parse_decision(reply)
    return Decision(reply, Recommendation(reply["recommendation"]), fault=body["fault"])


# -- questions for people --------------------------------------------------------------------------


def question_to_row(question: ApprovalQuestion, runner: str, at: float) -> dict[str, Any]:
    """Return what people are shown of a call as a row of the approvals table."""
    fields = asdict(question)
    columns = {name: to_storable(fields.pop(name)) for name in _QUESTION_COLUMNS}
    progress = {"runner": runner, "resumed": 0, "tries": 0, "due_at": 0.0, "error": None}
    return {**columns, "asked_at": at, **progress, "body": json.dumps(fields)}


def question_from_row(row: Mapping[str, Any]) -> ApprovalQuestion | None:
    """Return the question of a row of `select_approvals`; None where nobody was asked."""
    if row["question"] is None:
        return None
    with name_row(f"the question about call {row['key']}", "bighub_approvals"):
        fields = json.loads(row["question"])
        lists = {name: tuple(fields[name]) for name in ("locked_pointers", "allowed_decisions")}
        place = {"agent": row["agent"], "thread": row["root"], "namespace": row["namespace"]}
        return ApprovalQuestion(**{"key": row["key"], **place, **fields, **lists})


_QUESTION_COLUMNS = ("key", "agent", "thread", "namespace", "guard")


def build_audit_entry(record: CallRecord, event: Event, at: float) -> dict[str, Any] | None:
    """Build the row that an event of a person's adds to the audit log; None for any other event."""
    approval: Approval | None = getattr(event, "approval", None)
    details: dict[str, Any] = {"tool": record.tool, "state": record.state}
    if isinstance(event, CallCancelled) and event.cancelled_by:
        who, name = event.cancelled_by, "cancel"
        details["verified"] = event.verified
    elif approval is not None:
        who, name = approval.approver, "answer"
        details |= {"answer": approval.answer, "verified": approval.verified}
    else:
        return None
    fields = {"who": to_storable(who), "subject": record.key, "event": name}
    return {**fields, "at": at, "details": json.dumps(details)}


def build_question_entry(record: CallRecord, at: float) -> dict[str, Any]:
    """Build the row that a question adds to the history of its call."""
    state, version = record.state.value, record.version
    head = {"key": record.key, "at": at, "event": "PersonAsked"}
    return {**head, "state": state, "version": version, "details": "{}", "asked": 1}


# -- history and outbox ----------------------------------------------------------------------------


def build_transition_rows(
    before: CallRecord | None,
    after: CallRecord,
    event: str,
    reporting: ReportingConfig,
    at: float,
    *,
    approval: Approval | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Build the rows that a transition adds to the history and to the outbox.

    `approval` is an answer that came with the event. It may call a user's `redact`, so no
    transaction is open.
    """
    reports = build_reports(before or after._replace(state=State.PROPOSED), after, reporting)
    row = {
        "key": after.key,
        "at": at,
        "event": event,
        "state": after.state.value,
        "version": after.version,
        "details": json.dumps(_build_history_details(before, after, approval or after.approval)),
        "asked": int(any(map(is_asked_about, filter(None, (before, after))))),
    }
    return row, [_report_to_row(report, at) for report in reports]


def report_from_row(row: Mapping[str, Any]) -> QueuedReport:
    """Return the outbox entry of a row."""
    names = ("id", "key", "turn", "kind", "tries", "refusals")
    return QueuedReport(**{n: row[n] for n in names}, read_body=partial(json.loads, row["body"]))


def _report_to_row(report: Report, at: float) -> dict[str, Any]:
    return {
        "key": report.key,
        "turn": to_storable(report.turn),
        "kind": report.kind.value,
        "body": json.dumps(report.body),
        "queued_at": at,
        "tries": 0,
        "refusals": 0,
        "due_at": at + MEMORY_GRACE if report.kind is ReportKind.MEMORY else 0.0,
        "lease": 0.0,
        "leased_by": None,
        "dead_letter": 0,
        "error": None,
    }


def _build_history_details(
    before: CallRecord | None, after: CallRecord, approval: Approval | None
) -> dict[str, Any]:
    """Return who made a transition, why, and on which evidence."""
    details: dict[str, Any] = {}
    if before is None and after.decision is not None:
        fields = decision_fields(after.decision)
        details["decision"] = {**fields, "fault": after.decision.fault}
    if before is None and after.edited_from:
        details["edited_from"] = after.edited_from
    if approval is not None and (before is None or approval != before.approval):
        details["approval"] = build_approval_view(approval)
    if isinstance(after.result, ToolFailed):
        details["error"] = after.result.error
    if after.reason:
        details["reason"] = describe_reason(after)
    owner = after.owner or (before.owner if before is not None else None)
    if owner:
        details["owner"] = owner
    return details
