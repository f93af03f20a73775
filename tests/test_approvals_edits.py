"""Edits of a waiting call: what page, terminal and program accept, and what the agent then runs."""

import html
import json
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import pytest
from langchain_core.tools import BaseTool, StructuredTool, tool
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel, ConfigDict, Field

from bighub_langgraph import BighubGuard, Journal, create_guarded_agent
from bighub_langgraph.approvals.cards import ApprovalCard, Approver
from bighub_langgraph.approvals.resume_worker import ApprovalWorker
from bighub_langgraph.core.approval_answers import InvalidApprovalResponse
from bighub_langgraph.core.models import State
from tests.agents import ScriptedModel, asks_for, call
from tests.approval_page import Browser, Page, put_call
from tests.cli_journal import invoke
from tests.engines import ScriptedBighub

ADA = Approver("ada", verified=True, roles=frozenset({"approver"}))
CARD_NUMBER = "4111111111111111"


class Desk:
    """An agent whose one call waits for a person, and everything that a person answers with."""

    def __init__(self, folder: Path, used_tool: BaseTool, **arguments: Any) -> None:
        self.path = folder / "calls.db"
        guard = BighubGuard(
            bighub=ScriptedBighub("review_recommended"), journal=self.path, name="desk"
        )
        model = ScriptedModel(
            script=[asks_for(call(used_tool.name, **arguments)), "Done.", "Done."]
        )
        graph = create_guarded_agent(model, [used_tool], guard, checkpointer=InMemorySaver())
        config: Any = {"configurable": {"thread_id": "t"}}
        graph.invoke({"messages": [("user", "please")]}, config)
        self.worker = ApprovalWorker(graph, guard)
        self.journal = Journal(self.path)
        self.page = Page(self.journal)
        self.key = self.page.inbox.list()[0].key

    @property
    def card(self) -> ApprovalCard:
        return self.page.inbox.get(self.key)

    def edit(self, changes: dict[str, Any], *removals: str) -> None:
        """Edit the call in the program."""
        self.page.inbox.answer(
            self.key, "edit", approver=ADA, edit=changes, remove=removals, version=self.card.version
        )

    def edit_in_terminal(self, changes: dict[str, Any]) -> Any:
        settings = [f"{pointer}={json.dumps(value)}" for pointer, value in changes.items()]
        options = [part for setting in settings for part in ("--set", setting)]
        return invoke("approvals", "edit", self.key, "--journal", self.path, *options)

    def send(self, browser: Browser, form: dict[str, str], suffix: str = "") -> Any:
        """Send the edit form of the page; with the suffix `/check`, have it checked only."""
        path = f"/calls/{self.key}"
        fields = {f"argument:{name}": text for name, text in form.items()}
        fields |= {"answer": "edit", "version": str(self.card.version)}
        return browser.send(path + suffix, page=path, **fields)

    def refuse(self, changes: dict[str, Any], form: dict[str, str]) -> Iterator[str]:
        """Yield what each way to edit the call says of changes that none accepts."""
        with pytest.raises(InvalidApprovalResponse) as error_info:
            self.edit(changes)
        yield str(error_info.value)
        result = self.edit_in_terminal(changes)
        assert result.exit_code == 1
        yield " ".join(result.stderr.split())
        with self.page.sign_in_as("ada") as ada:
            response = self.send(ada, form)
            assert response.status_code == 422
            yield alert(response)
            yield self.send(ada, form, "/check").json()["error"]
        assert self.card.state is State.AWAITING


def alert(response: Any) -> str:
    text: str = response.text.partition('role="alert">')[2]
    return html.unescape(text.partition("</p>")[0])


# -- redacted values


def payout(ran: list[Any]) -> BaseTool:
    @tool
    def payout(
        recipients: list[dict[str, Any]], memo: str = "", meta: dict[str, Any] | None = None
    ) -> str:
        """Pay."""
        ran.append((recipients, memo, meta))
        return "paid"

    return payout


RECIPIENTS = [{"account": CARD_NUMBER, "amount": 10}, {"account": "plain", "amount": 20}]
HIDDEN = [{"account": "[redacted]", "amount": 10}, {"account": "plain", "amount": 20}]
SPELLINGS = ["[redacted]", "[REDACTED]", "password=[Redacted]", "a [redacted] word"]


@pytest.mark.parametrize(
    ("changes", "form", "field"),
    [
        (
            {"/recipients/0/account": "plain", "/recipients/1/account": "[redacted]"},
            {"recipients": json.dumps([*reversed(HIDDEN)])},
            "recipients.1.account",
        ),
        *(({"/memo": text}, {"memo": text}, "memo") for text in SPELLINGS),
        ({"/meta": {"[redacted]": 1}}, {"meta": '{"[redacted]": 1}'}, "meta.[redacted]"),
        ({"/meta": [{"a": "[redacted]"}]}, {"meta": '[{"a": "[redacted]"}]'}, "meta.0.a"),
    ],
    ids=str,
)
def test_what_stands_for_a_redacted_value_is_no_new_value(
    tmp_path: Path, changes: dict[str, Any], form: dict[str, str], field: str
) -> None:
    desk = Desk(tmp_path, payout([]), recipients=RECIPIENTS)
    for message in desk.refuse(changes, form):
        assert f"{field} is hidden; type the new value or leave the field as it is" in message


def test_a_redacted_value_that_an_edit_leaves_as_it_is_reaches_the_tool(tmp_path: Path) -> None:
    ran: list[Any] = []
    desk = Desk(tmp_path, payout(ran), recipients=RECIPIENTS)
    with desk.page.sign_in_as("ada") as ada:
        changed = [HIDDEN[0] | {"amount": 11}, HIDDEN[1]]
        assert desk.send(ada, {"recipients": json.dumps(changed)}).status_code == 303
    desk.worker.run(once=True)
    assert ran == [([RECIPIENTS[0] | {"amount": 11}, RECIPIENTS[1]], "", None)]


@pytest.mark.parametrize(
    ("changes", "removals", "field"),
    [
        ({"/meta/[redacted]": 5}, (), "meta.[redacted]"),
        ({}, ("/meta/[redacted]",), "meta.[redacted]"),
        ({"/meta/note": "*** of Ms Smith"}, (), "meta.note"),
        ({"/memo": "*** of Ms Smith"}, (), "memo"),
    ],
    ids=str,
)
def test_hidden_names_and_what_a_guards_own_rule_shows_are_no_new_values(
    tmp_path: Path, changes: dict[str, Any], removals: tuple[str, ...], field: str
) -> None:
    with closing(Journal(tmp_path / "calls.db")) as journal:
        shown = {"owner": "*** of Ms Smith", "meta": {"[redacted]": 1, "note": "x"}}
        record = put_call(journal, arguments=shown, locked_pointers=("/owner", "/meta/[redacted]"))
        inbox, version = Page(journal).inbox, record.version
        with pytest.raises(InvalidApprovalResponse, match="is hidden") as error_info:
            inbox.answer(
                record.key, "edit", approver=ADA, edit=changes, remove=removals, version=version
            )
        assert f"{field} is hidden" in str(error_info.value)


# -- what fits the tool


class Item(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    name: str
    number: int = Field(1, alias="quantity")


def transfer(ran: list[Any]) -> BaseTool:
    @tool
    def transfer(  # noqa: PLR0917 - one argument of each kind
        to: str,
        amount: float = 0.0,
        on: date | None = None,
        at: datetime | None = None,
        after: timedelta | None = None,
        reference: UUID | None = None,
        tags: list[int] | None = None,
        items: list[Item] | None = None,
        flag: bool = False,
    ) -> str:
        """Send money."""
        sent = {"to": to, "amount": amount, "on": on, "at": at, "after": after, "tags": tags}
        ran.append(sent | {"reference": reference, "items": items, "flag": flag})
        return "sent"

    return transfer


@pytest.mark.parametrize(
    "form",
    [
        *({"on": text} for text in ("2026-02-30", "20260220", "tomorrow")),
        *({"at": text} for text in ("2026-02-30T10:00:00Z", "20260220", "2026-02-20T25:00")),
        *({"after": text} for text in ("P", "an hour")),
        {"reference": "17"},
    ],
    ids=str,
)
def test_a_text_that_is_no_date_or_time_is_refused(tmp_path: Path, form: dict[str, str]) -> None:
    arguments = {"on": "2026-01-01", "at": "2026-01-01T10:00:00", "after": "PT1H"}
    desk = Desk(tmp_path, transfer([]), to="a", reference=str(UUID(int=1)), **arguments)
    [(name, text)] = form.items()
    for message in desk.refuse({f"/{name}": text}, form):
        assert f"the edit does not fit transfer: {name}: {text!r} is not a '" in message


@pytest.mark.parametrize("host", ["a function", "a schema"])
def test_an_argument_that_the_tool_does_not_have_is_refused(tmp_path: Path, host: str) -> None:
    properties = {"to": {"type": "string"}, "amount": {"type": "number"}}
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    used_tool: BaseTool = transfer([])
    if host == "a schema":
        used_tool = StructuredTool(name="transfer", description="", args_schema=schema, func=print)
    desk = Desk(tmp_path, used_tool, to="a", amount=50.0)
    with pytest.raises(InvalidApprovalResponse, match="'ammount'"):
        desk.edit({"/ammount": 20})
    result = desk.edit_in_terminal({"/ammount": 20})
    assert (result.exit_code, "'ammount'" in result.stderr) == (1, True)
    assert desk.card.state is State.AWAITING


# What a model gave and the guard accepted, a change, and what the tool then gets besides it.
ACCEPTED: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({"amount": "5"}, {"/to": "b"}, {"to": "b", "amount": 5.0}),
    ({"amount": "5"}, {"/amount": 7}, {"amount": 7.0}),
    ({"flag": "true"}, {"/to": "b"}, {"to": "b", "flag": True}),
    ({"items": [{"name": "n", "number": 2}]}, {"/to": "b"}, {"to": "b"}),
    ({"items": [{"name": "n", "number": "2"}]}, {"/items/0/name": "m"}, {}),
    ({"tags": ["5", 6]}, {"/tags/1": 7}, {"tags": [5, 7]}),
    ({"tags": [int(CARD_NUMBER), 6]}, {"/tags/1": 7}, {"tags": [int(CARD_NUMBER), 7]}),
    ({"on": "2026-01-01T00:00:00"}, {"/to": "b"}, {"on": date(2026, 1, 1)}),
    ({}, {"/on": "2026-02-20"}, {"on": date(2026, 2, 20)}),
    ({}, {"/at": "2026-02-20T10:00:00"}, {"at": datetime(2026, 2, 20, 10)}),  # noqa: DTZ001
    ({}, {"/after": "PT30M"}, {"after": timedelta(minutes=30)}),
]


@pytest.mark.parametrize(("arguments", "changes", "expected"), ACCEPTED, ids=str)
def test_only_what_was_changed_has_to_be_as_the_schema_says(
    tmp_path: Path,
    arguments: dict[str, Any],
    changes: dict[str, Any],
    expected: dict[str, Any],
) -> None:
    ran: list[Any] = []
    desk = Desk(tmp_path, transfer(ran), **({"to": "a"} | arguments))
    desk.edit(changes)
    desk.worker.run(once=True)
    assert [{name: sent[name] for name in expected} for sent in ran] == [expected]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"/amount": "7"}, "amount: '7' is not of type 'number'"),
        ({"/tags/1": "7"}, "transfer: tags.1: '7' is not of type 'integer'$"),
        ({"/tags/-": "7"}, "transfer: tags.2: '7' is not of type 'integer'$"),
        ({"/tags": ["5", 6, 7]}, "transfer: tags.0: '5' is not of type 'integer'$"),
    ],
    ids=str,
)
def test_what_was_changed_has_to_be_as_the_schema_says(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    desk = Desk(tmp_path, transfer([]), to="a", amount="5", tags=["5", 6])
    with pytest.raises(InvalidApprovalResponse, match=words):
        desk.edit(changes)


# -- the form's fields


def pay(ran: list[Any]) -> BaseTool:
    @tool
    def pay(  # noqa: PLR0917 - one argument of each kind
        to: str,
        approver: str | None,
        amount: float = 1.0,
        note: str | None = None,
        memo: str = "by default",
        count: int | None = None,
        kind: Literal["a", "b"] | None = None,
        urgent: bool = False,
        tags: list[str] | None = None,
        token: int = 0,
    ) -> str:
        """Send money."""
        sent: dict[str, Any] = {"to": to, "approver": approver, "amount": amount, "note": note}
        sent |= {
            "memo": memo,
            "count": count,
            "kind": kind,
            "urgent": urgent,
            "tags": tags,
            "token": token,
        }
        ran.append(sent)
        return "sent"

    return pay


# What the model gave, what a person types, and what the tool then gets.
TYPED: list[tuple[dict[str, Any], dict[str, str], dict[str, Any]]] = [
    ({"note": None}, {"note": "hello"}, {"note": "hello"}),
    ({}, {"note": "123"}, {"note": "123"}),
    ({"note": "x"}, {"note": ""}, {"note": None}),
    ({"memo": "x"}, {"memo": ""}, {"memo": "by default"}),
    ({"approver": None}, {"approver": "ada"}, {"approver": "ada"}),
    ({"approver": "bob"}, {"approver": ""}, {"approver": None}),
    ({"count": None}, {"count": "3"}, {"count": 3}),
    ({"count": 3}, {"count": ""}, {"count": None}),
    ({"kind": None}, {"kind": '"b"'}, {"kind": "b"}),
    ({"kind": "a"}, {"kind": ""}, {"kind": None}),
    ({"urgent": True}, {"urgent": ""}, {"urgent": False}),
    ({"tags": None}, {"tags": '["a"]'}, {"tags": ["a"]}),
    ({"tags": ["a"]}, {"tags": ""}, {"tags": None}),
    ({"to": "x"}, {"to": ""}, {"to": ""}),
    ({"amount": "5"}, {"amount": "6"}, {"amount": 6.0}),
    ({"amount": "5"}, {"to": "b", "amount": "5"}, {"to": "b", "amount": 5.0}),
    ({"amount": " 5 "}, {"to": "b", "amount": " 5 "}, {"to": "b", "amount": 5.0}),
    ({"token": int(CARD_NUMBER)}, {"token": "7"}, {"token": 7}),
    ({"token": int(CARD_NUMBER)}, {"to": "b", "token": ""}, {"token": int(CARD_NUMBER)}),
]


@pytest.mark.parametrize(("arguments", "form", "expected"), TYPED, ids=str)
def test_a_field_is_of_its_schemas_kind_and_empty_where_there_is_no_value(
    tmp_path: Path, arguments: dict[str, Any], form: dict[str, str], expected: dict[str, Any]
) -> None:
    ran: list[Any] = []
    desk = Desk(tmp_path, pay(ran), **({"to": "a", "approver": "ada"} | arguments))
    with desk.page.sign_in_as("ada") as ada:
        response = desk.send(ada, form)
        assert (alert(response), response.status_code) == ("", 303)
    desk.worker.run(once=True)
    assert [{name: sent[name] for name in expected} for sent in ran] == [expected]


def test_the_page_says_what_an_empty_field_means(tmp_path: Path) -> None:
    desk = Desk(tmp_path, pay([]), to="a", approver="ada", amount=" 5 ")
    with desk.page.sign_in_as("ada") as ada:
        text = html.unescape(ada.show(f"/calls/{desk.key}").text)
    labels = {part.partition("<")[0].strip(): part for part in text.split("<label><span>")[1:]}
    assert "required" in labels["to"]
    assert "empty: null<" in labels["approver"]
    assert "empty: not given<" in labels["note"]
    assert 'empty: not given, which means "by default"<' in labels["memo"]
    assert 'type="number"' in labels["count"]
    assert 'type="text" value=" 5 "' in labels["amount"]  # a field for numbers would be empty


def test_a_field_that_needs_a_value_is_not_left_empty(tmp_path: Path) -> None:
    @tool
    def wire(amount: float) -> str:
        """Send money."""
        return str(amount)

    desk = Desk(tmp_path, wire, amount=5.0)
    with desk.page.sign_in_as("ada") as ada:
        assert alert(desk.send(ada, {"amount": ""})) == "amount: a value is needed"


# -- what HTML and JSON cannot have, and limits


ODD = ["\ud83d", "ok \udfff\ud800", "nul\x00", "\r\n", "\ufffd"]


@pytest.mark.parametrize("text", ODD, ids=ascii)
def test_a_call_with_half_a_character_can_be_opened_and_edited(tmp_path: Path, text: str) -> None:
    arguments = {"order_id": text, "amount": 2.0, text: text, "items": [text], "currency": text}
    with closing(Journal(tmp_path / "calls.db")) as journal:
        record = put_call(journal, arguments=arguments, agent=text, tool="refund", actor=text)
        page = Page(journal)
        with page.sign_in_as("ada") as ada:
            for path in ("/", "/history", f"/calls/{record.key}"):
                assert ada.show(path).status_code == 200
            path = f"/calls/{record.key}"
            name = text if text.isprintable() else text.encode("unicode_escape").decode()
            changed = {"argument:amount": "3", f"argument:{name}": "new"}
            check_result = ada.send(f"{path}/check", page=path, **changed).json()
            assert check_result["error"] == ""
            assert ada.answer(record, "edit", **changed).status_code == 303
            assert ada.show(path).status_code == 200
        approval = page.inbox.get(record.key).record.approval
        assert approval is not None
        assert approval.edit is not None
        assert dict(approval.edit.values) == {"/amount": 3, f"/{text}": "new"}


def test_json_in_the_form_keeps_half_a_character(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "calls.db")) as journal:
        record = put_call(journal, arguments={"order_id": "o", "amount": 2.0, "items": ["\ud83d"]})
        page = Page(journal)
        with page.sign_in_as("ada") as ada:
            assert r'"\ud83d"' in html.unescape(ada.show(f"/calls/{record.key}").text)
            form = {"argument:items": r'["\ud83d", "b"]'}
            assert ada.answer(record, "edit", **form).status_code == 303
        approval = page.inbox.get(record.key).record.approval
        assert approval is not None
        assert approval.edit is not None
        assert dict(approval.edit.values) == {"/items": ["\ud83d", "b"]}


DEEP = {depth: "[" * depth + "]" * depth for depth in (40, 500, 900, 100_000)}


@pytest.mark.parametrize(
    ("form", "status"),
    [
        *(({"argument:items": text}, 422) for text in DEEP.values()),
        *(({"argument:items": "[" * depth}, 422) for depth in DEEP),
        *(({"argument:amount": text}, 422) for text in ("9" * 5000, "NaN", "1e999", "[1]", "true")),
        ({"argument:items": "[NaN]"}, 422),
        ({"argument:items": "[1e999]"}, 422),
        ({"argument:amount": "9" * 400}, 422),
        *(({"argument:amount": "3", "version": text}, 409) for text in ("9" * 5000, "-1")),
        ({f"argument:{number}": "" for number in range(5001)}, 413),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_a_hostile_form_is_refused_with_a_sentence(
    tmp_path: Path, form: dict[str, str], status: int
) -> None:
    with closing(Journal(tmp_path / "calls.db")) as journal:
        record, page = put_call(journal), Page(journal)
        path = f"/calls/{record.key}"
        with page.sign_in_as("ada") as ada:
            response = ada.answer(record, "edit", **form)
            assert response.status_code == status
            assert status == 413 or alert(response)
            check_response = ada.send(f"{path}/check", page=path, **form)
            assert check_response.status_code in {200, 413}
            assert bool(check_response.json()["error"]) == (status != 409)
            several = {"answer": "edit", "call": f"{record.key}:{form.get('version', 1)}", **form}
            assert ada.send("/answers", page=path, **several).status_code in {200, 413}
        assert page.inbox.get(record.key).state is State.AWAITING


@pytest.mark.parametrize("depth", DEEP)
def test_a_deep_value_ends_a_command_with_a_sentence(tmp_path: Path, depth: int) -> None:
    desk = Desk(tmp_path, pay([]), to="a", approver="ada")
    for text in (DEEP[depth], "[" * depth):
        result = invoke(
            "approvals", "edit", desk.key, "--journal", desk.path, "--set", f"tags={text}"
        )
        assert result.exit_code in {1, 2}
        assert isinstance(result.exception, SystemExit)
        assert result.stderr.startswith("error: ")


NESTED: list[Any] = []
NESTED.append(NESTED)


@pytest.mark.parametrize("value", [NESTED, 10**5000, float("inf"), {1, 2}, b"x"], ids=lambda v: "")
def test_a_value_that_is_not_json_is_refused_in_the_program(tmp_path: Path, value: Any) -> None:
    desk = Desk(tmp_path, pay([]), to="a", approver="ada")
    for pointer in ("/tags", "/tags/-", "/" * 5000, "/amount"):
        with pytest.raises(InvalidApprovalResponse):
            desk.edit({pointer: value})
