"""The approval page over HTTP: who sees and answers what, and what it refuses."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from bighub_langgraph import Journal
from bighub_langgraph.approvals.web.server import serve
from bighub_langgraph.approvals.web.visitors import SECRET_HEADER, TrustedProxy, Visitors
from bighub_langgraph.core.errors import ConfigurationError
from bighub_langgraph.core.lifecycle import (
    AnswerGiven,
    CallCancelled,
    DecisionMade,
    ExecutionFinished,
    ExecutionStarted,
    OutcomeResolved,
    OwnerLost,
    apply_event,
)
from bighub_langgraph.core.models import (
    Answer,
    ApprovalRequirement,
    CallRecord,
    State,
    ToolCall,
    ToolSucceeded,
    Verdict,
)
from bighub_langgraph.core.reporting import ReportingConfig
from tests.approval_page import ARGUMENTS, HERE, PASSWORD, Browser, Page, put_call, serving
from tests.calls import approval, decision

SECRET = "a secret of the proxy's"
PROXY = TrustedProxy.of("X-Forwarded-User", ("10.0.0.0/24",), SECRET)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "calls.db")
    yield journal
    journal.close()


def state(page: Page, key: str) -> State:
    return page.inbox.get(key).state


def alert(response: Any) -> str:
    text: str = response.text.partition('role="alert">')[2]
    return text.partition("</p>")[0]


# -- what is shown


def test_a_call_is_one_sentence_with_its_evidence(journal: Journal) -> None:
    record = put_call(journal, expires_at=time.time() + 600, recommendation_confidence="low")
    put_call(journal, 2, risk=0.9)
    with Page(journal).sign_in_as("ada") as ada:
        inbox = ada.show("/").text
        call = ada.show(f"/calls/{record.key}").text
    assert "2 calls wait" in inbox
    assert inbox.index("Very high risk") < inbox.index("High risk <span")
    sentence = (
        "<b>support-desk</b> wants to run <b>refund</b> on <b>ord_1</b> with a value of <b>20</b>"
    )
    for words in (sentence, "High risk", "0.62", "not sure yet", "The call expires"):
        assert words in call
    assert "Pay money back to a customer." in call


HOSTILE = {
    "<script>alert(1)</script>": "&lt;script&gt;alert(1)&lt;/script&gt;",
    "**bold** [link](http://evil)": "**bold** [link](http://evil)",
    "\x1b[31mred": '<span class="mark" title="control character">U+001B</span>[31mred',
    "pay\u202egnp.exe": 'title="right-to-left override">U+202E</span>gnp.exe',
    "a\u200bb\ufeff": 'title="zero width space">U+200B</span>b',
    "nul\x00": "U+0000",
    "\u200d" * 5000: "U+200D x600",
}


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_an_argument_is_shown_as_what_it_is(journal: Journal, text: str) -> None:
    record = put_call(journal, arguments={"order_id": text, text: [text]})
    with Page(journal).sign_in_as("ada") as ada:
        for path in ("/", f"/calls/{record.key}", "/history"):
            response = ada.show(path)
            assert response.status_code == 200
            assert "<script>alert" not in response.text
        assert HOSTILE[text] in ada.show(f"/calls/{record.key}").text


def test_a_long_argument_is_folded(journal: Journal) -> None:
    record = put_call(journal, arguments={"order_id": "x" * 100_000})
    with Page(journal).sign_in_as("ada") as ada:
        assert (
            "Show the other 99,400 of 100,000 characters" in ada.show(f"/calls/{record.key}").text
        )
        assert len(ada.show("/").text) < 10_000


def test_no_page_needs_anything_else_and_no_get_changes_anything(journal: Journal) -> None:
    record = put_call(journal)
    page = Page(journal)
    with page.sign_in_as("ada") as ada:
        before = page.inbox.newest_change()
        for path in ("/", f"/calls/{record.key}", "/history", "/sign-in", "/nothing", "/changes"):
            response = ada.show(path)
            policy = response.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'")
            assert "unsafe" not in policy
            assert not any(
                part in response.text for part in ("<script>", "style=", "onclick", "//cdn")
            )
        for path in ("/answers", "/sign-out", f"/calls/{record.key}/check"):
            assert ada.show(path).status_code == 405
        assert page.inbox.newest_change() == before


def test_pages_learn_of_a_change_by_one_number(journal: Journal) -> None:
    record = put_call(journal)
    page = Page(journal)
    with page.sign_in_as("ada") as ada:
        change = ada.show("/changes").json()["change"]
        assert f'data-change="{change}"' in ada.show("/").text
        ada.answer(record, "approve")
        assert f'data-change="{change}"' not in ada.show("/").text


def test_calls_that_nobody_is_asked_about_reload_no_page(journal: Journal) -> None:
    record = put_call(journal)
    page = Page(journal)
    auto_executed = CallRecord.of(ToolCall("t", "turn", "c", "read", {}), record.request, 1.0)
    allowed = apply_event(auto_executed, DecisionMade(decision("proceed"), Verdict.EXECUTE))
    started = ExecutionStarted("worker", 1.0)
    finished = ExecutionFinished("worker", ToolSucceeded("done"))
    numbers = [page.inbox.newest_change()]
    journal.insert([allowed], ReportingConfig())
    journal.transition(auto_executed.key, started, ReportingConfig())
    journal.transition(auto_executed.key, finished, ReportingConfig())
    assert page.inbox.newest_change() == numbers[0]
    approve = AnswerGiven(approval(Answer.APPROVE))
    lost = OwnerLost("worker", "it is gone")
    for event in (approve, started, lost, OutcomeResolved(ToolSucceeded("done"))):
        journal.transition(record.key, event, ReportingConfig())
        numbers.append(page.inbox.newest_change())
    assert numbers == sorted(set(numbers))


def test_a_page_that_reloads_by_itself_never_takes_old_calls_for_the_newest(
    journal: Journal,
) -> None:
    page = Page(journal)
    with page.sign_in_as("ada") as ada:
        for number in range(1, 4):
            ada.show("/")
            put_call(journal, number)
            newest = f'data-change="{page.inbox.newest_change()}"'
            reload_text = ada.client.get("/", headers={"x-bighub-reload": "1"}).text
            count_text = f'data-count="{number}"'
            assert (count_text in reload_text) == (newest in reload_text)
            assert count_text in ada.show("/").text


def test_a_long_history_shows_the_newest_calls_first_and_more_on_request(journal: Journal) -> None:
    records = [put_call(journal, number, risk=0.9 - number / 200) for number in range(102)]
    with Page(journal).sign_in_as("ada") as ada:
        response = ada.show("/history?tool=refund").text
        assert response.count("wants to run") == 100
        assert 'href="/history?tool=refund&amp;show=200"' in response
        more = ada.show("/history?tool=refund&show=200").text
        assert more.count("wants to run") == len(records)
        assert "Show more" not in more
        assert 'href="/?tool=refund&amp;show=200"' in ada.show("/?tool=refund").text


def test_lists_are_filtered(journal: Journal) -> None:
    put_call(journal, 1, agent="one", risk=0.3)
    put_call(journal, 2, agent="two", actor="bob", risk=0.7)
    with Page(journal).sign_in_as("ada") as ada:
        for query, agent in (("agent=one", "one"), ("min_risk=0.5", "two"), ("actor=bob", "two")):
            for path in ("/", "/history"):
                response = ada.show(f"{path}?{query}").text
                assert f"<b>{agent}</b>" in response
                assert response.count("wants to run") == 1
        assert "wants to run" not in ada.show("/history?state=executed&min_risk=nothing").text


# -- answers


@pytest.mark.parametrize(
    ("answer", "after"),
    [("approve", State.ALLOWED), ("reject", State.BLOCKED), ("respond", State.ANSWERED)],
)
def test_an_approver_answers(journal: Journal, answer: str, after: State) -> None:
    record = put_call(journal)
    page = Page(journal)
    with page.sign_in_as("ada") as ada:
        response = ada.answer(record, answer, text="because", comment="looked at it")
        assert (response.status_code, response.headers["location"]) == (303, f"/calls/{record.key}")
        assert "No answer is needed" in ada.show(f"/calls/{record.key}").text
    approval = page.inbox.get(record.key).record.approval
    assert approval is not None
    assert (approval.approver, approval.verified, state(page, record.key)) == ("ada", True, after)
    assert page.accounts.audit()[-1].subject == record.key
    assert page.accounts.audit()[-1].who == "ada"


EDITS: list[tuple[dict[str, str], dict[str, Any], tuple[str, ...]]] = [
    ({"amount": "15"}, {"/amount": 15}, ()),
    ({"items": '["shoes", "socks"]'}, {"/items": ["shoes", "socks"]}, ()),
    ({"items": '["boots"]'}, {"/items/0": "boots"}, ()),
    ({"currency": '"USD"', "urgent": "true"}, {"/currency": "USD", "/urgent": True}, ()),
    ({"note": "hello\r\nyou"}, {"/note": "hello\nyou"}, ()),
    ({"currency": ""}, {}, ("/currency",)),
    (
        {"api_token": "another token of 20+ letters"},
        {"/api_token": "another token of 20+ letters"},
        (),
    ),
]


def form_of(changes: dict[str, str]) -> dict[str, str]:
    """The edit form as a browser sends it, with some fields changed."""
    inputs = {
        "order_id": "ord_1",
        "amount": "20.0",
        "currency": '"EUR"',
        "urgent": "",
        "note": "",
    }
    inputs |= {"items": '[\r\n  "shoes"\r\n]', "api_token": ""}
    return {f"argument:{name}": text for name, text in {**inputs, **changes}.items()}


@pytest.mark.parametrize(("inputs", "values", "removals"), EDITS, ids=str)
def test_an_edit_is_what_was_changed_and_nothing_else(
    journal: Journal, inputs: dict[str, str], values: dict[str, Any], removals: tuple[str, ...]
) -> None:
    arguments = {**ARGUMENTS, "api_token": "[redacted]"}
    record = put_call(journal, arguments=arguments, locked_pointers=("/api_token",))
    page = Page(journal)
    with page.sign_in_as("ada") as ada:
        assert "not shown; empty keeps it" in ada.show(f"/calls/{record.key}").text
        path = f"/calls/{record.key}"
        check_result = ada.send(f"{path}/check", page=path, **form_of(inputs)).json()
        assert check_result == {"error": "", "changed": [*values, *removals]}
        assert ada.answer(record, "edit", **form_of(inputs)).status_code == 303
    approval = page.inbox.get(record.key).record.approval
    assert approval is not None
    assert approval.edit is not None
    assert (approval.edit.values, approval.edit.removed_pointers) == (values, removals)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, "changes nothing"),
        ({"amount": "ten"}, "amount: this is not a number"),
        ({"amount": ""}, "amount: a value is needed"),
        ({"amount": "9000"}, "amount"),
        ({"items": "[1"}, "items: this is not JSON"),
        ({"items": "[1]"}, "items"),
        ({"api_token": "short"}, "api_token"),
    ],
    ids=str,
)
def test_an_edit_that_does_not_fit_is_refused_and_kept_in_the_form(
    journal: Journal, inputs: dict[str, str], words: str
) -> None:
    record = put_call(journal)
    page = Page(journal)
    with page.sign_in_as("ada") as ada:
        response = ada.answer(record, "edit", **form_of(inputs))
        assert response.status_code == 422
        assert words in alert(response)
        assert all(text.replace('"', "&#34;") in response.text for text in inputs.values())
    assert state(page, record.key) is State.AWAITING


def test_the_first_of_two_people_wins_and_the_other_reads_who_it_was(journal: Journal) -> None:
    record = put_call(journal)
    page = Page(journal)
    with page.sign_in_as("ada") as ada, page.sign_in_as("bob") as bob:
        assert ada.answer(record, "reject", text="no").status_code == 303
        for browser in (bob, ada):  # another person, and a double click
            response = browser.answer(record, "approve")
            assert response.status_code == 409
            assert "ada has answered already" in alert(response)
    assert state(page, record.key) is State.BLOCKED


def test_a_form_of_an_earlier_version_changes_nothing(journal: Journal) -> None:
    record = put_call(journal, requirement=ApprovalRequirement(2))
    page = Page(journal)
    with page.sign_in_as("ada") as ada, page.sign_in_as("bob") as bob:
        assert ada.answer(record, "approve").status_code == 303
        for version in (record.version, "", "x"):
            response = bob.answer(record, "approve", version=version)
            assert response.status_code == 409
            assert "has changed since it was shown" in alert(response)
        assert "ada" in bob.show(f"/calls/{record.key}").text
        assert "has approved it already" in alert(
            ada.answer(record, "approve", version=record.version + 1)
        )
        assert state(page, record.key) is State.AWAITING
        assert bob.answer(record, "approve", version=record.version + 1).status_code == 303
    assert state(page, record.key) is State.ALLOWED


def test_who_may_not_answer_changes_nothing(journal: Journal) -> None:
    own = put_call(journal, 1, actor="ada")
    other = put_call(journal, 2)
    finance = put_call(journal, 3, requirement=ApprovalRequirement(1, ("finance",)))
    approvals_only = put_call(journal, 4, allowed_decisions=(Answer.APPROVE, Answer.REJECT))
    page = Page(journal)
    with page.sign_in_as("ada") as ada, page.sign_in_as("eve", "viewer") as eve:
        assert "you cannot answer" in eve.show(f"/calls/{other.key}").text
        own_page, finance_page = f"/calls/{own.key}", f"/calls/{finance.key}"
        cases = (
            (eve, other, "approve", 403, "may look, and not answer"),
            (ada, own, "approve", 403, "nobody approves their own calls"),
            (ada, finance, "approve", 403, "only finance may answer"),
            (ada, approvals_only, "respond", 422, "is not allowed for refund"),
            (ada, other, "fly", 422, "is not allowed for refund"),
        )
        for browser, record, answer, status, words in cases:
            form_page = finance_page if browser is ada else own_page
            token = browser.token(form_page)
            response = browser.answer(record, answer, text="x", form_token=token)
            assert (response.status_code, words in alert(response)) == (status, True)
            assert state(page, record.key) is State.AWAITING


def test_a_call_that_ended_while_the_page_was_open_says_so(journal: Journal) -> None:
    late = put_call(journal, 1, expires_at=1.0)
    cancelled_record = put_call(journal, 2)
    page = Page(journal)
    with page.sign_in_as("ada") as ada:
        token = ada.token(f"/calls/{cancelled_record.key}")
        event = CallCancelled("the user wrote a new message")
        journal.transition(cancelled_record.key, event, ReportingConfig())
        for record, words in (
            (late, "the time to answer is over"),
            (cancelled_record, "new message"),
        ):
            response = ada.answer(record, "approve", form_token=token)
            assert (response.status_code, words in alert(response)) == (409, True)
        assert ada.show("/calls/0123456789").status_code == 404
    assert state(page, cancelled_record.key) is State.CANCELLED


def test_an_approver_cancels_a_call_once_with_a_reason(journal: Journal) -> None:
    waiting, approved = put_call(journal, 1), put_call(journal, 2)
    page = Page(journal)
    with page.sign_in_as("ada") as ada:
        assert ada.answer(approved, "approve").status_code == 303
        approved = page.inbox.get(approved.key).record
        for record in (waiting, approved):
            path = f"/calls/{record.key}"
            assert 'value="cancel"' in ada.show(path).text
            token = ada.token(path)
            assert ada.answer(record, "cancel", text="order\r\nwithdrawn").status_code == 303
            shown = ada.show(path).text
            assert "cancelled by ada: order\nwithdrawn" in shown
            assert 'value="cancel"' not in shown
            again = ada.answer(record, "cancel", text="again", form_token=token)
            assert (again.status_code, "is cancelled" in alert(again)) == (409, True)
            assert state(page, record.key) is State.CANCELLED
    entries = [entry for entry in page.accounts.audit() if entry.event == "cancel"]
    assert [(entry.who, entry.subject) for entry in entries] == [
        ("ada", record.key) for record in (waiting, approved)
    ]
    assert all(entry.details["verified"] for entry in entries)


def test_a_call_is_not_cancelled_by_everybody_nor_by_an_old_form(journal: Journal) -> None:
    record = put_call(journal, 1, requirement=ApprovalRequirement(2))
    finance = put_call(journal, 2, requirement=ApprovalRequirement(1, ("finance",)))
    running = put_call(journal, 3)
    page = Page(journal)
    with page.sign_in_as("ada") as ada, page.sign_in_as("eve", "viewer") as eve:
        token = ada.token(f"/calls/{running.key}")
        assert ada.answer(running, "approve").status_code == 303
        journal.transition(running.key, ExecutionStarted("worker", 1.0), ReportingConfig())
        assert 'value="cancel"' not in eve.show(f"/calls/{record.key}").text
        ada.answer(record, "approve")  # one of two
        newest = page.inbox.get(record.key).record
        eve_token = eve.token("/")
        for browser, call, form, status, words in (
            (ada, record, {"text": "no"}, 409, "has changed since it was shown"),
            (ada, newest, {"text": " "}, 422, "write why"),
            (ada, finance, {"text": "no"}, 403, "only finance may answer"),
            (ada, running, {"text": "no", "form_token": token}, 409, "ada has answered already"),
            (eve, newest, {"text": "no", "form_token": eve_token}, 403, "may look, and not answer"),
        ):
            before = state(page, call.key)
            response = browser.answer(call, "cancel", **form)
            assert (response.status_code, words in alert(response)) == (status, True)
            assert state(page, call.key) is before


def test_several_calls_that_are_alike_are_answered_at_once(journal: Journal) -> None:
    first, second, own = (
        put_call(journal, 1),
        put_call(journal, 2),
        put_call(journal, 3, actor="ada"),
    )
    other = put_call(journal, 4, tool="delete")
    page = Page(journal)
    with page.sign_in_as("ada") as ada:

        def send(*records: Any) -> Any:
            calls = [f"{record.key}:{record.version}" for record in records]
            return ada.send("/answers", page="/", answer="approve", call=calls)

        assert send(first, other).status_code == 422
        assert state(page, first.key) is State.AWAITING
        response = send(first, second, own)
        assert response.text.count(": recorded</li>") == 2
        assert "own calls" in response.text.replace("&#39;", "'")
    states = [state(page, record.key) for record in (first, second, own)]
    assert states == [State.ALLOWED, State.ALLOWED, State.AWAITING]


# -- who is signed in


def test_nothing_is_shown_or_changed_without_a_session(journal: Journal) -> None:
    record = put_call(journal)
    page = Page(journal)
    with page.sign_in_as("ada") as ada:
        token = ada.token(f"/calls/{record.key}")
        ada.send("/sign-out", page="/")
        response = ada.answer(record, "approve", form_token=token)  # a tab of before
        assert response.status_code == 401
        assert "You are signed out, so nothing was changed" in response.text
        assert f'name="next" value="/calls/{record.key}"' in response.text
        for path in ("/", "/history", "/changes", f"/calls/{record.key}"):
            response = ada.show(path)
            assert (response.status_code, "refund" in response.text) == (401, False)
    assert state(page, record.key) is State.AWAITING


def test_a_session_cannot_be_forged_and_ends_everywhere(journal: Journal) -> None:
    page = Page(journal)
    with page.sign_in_as("ada") as ada, page.browser() as tab:
        tab.client.cookies.set("bighub_session", "0" * 43)
        assert tab.show("/").status_code == 401
        response = tab.send("/sign-in", name="ada", password=PASSWORD)
        cookie = response.headers["set-cookie"].lower()
        assert all(part in cookie for part in ("httponly", "samesite=lax"))
        assert tab.show("/").status_code == 200
        ada.send("/sign-out", page="/", everywhere="yes")
        assert tab.show("/").status_code == 401


FOREIGN: list[tuple[dict[str, str], dict[str, str]]] = [
    ({"origin": "https://evil.example"}, {}),
    ({"origin": "null"}, {}),
    ({"origin": ""}, {}),
    ({"origin": "http://127.0.0.1:9999"}, {}),
    ({"sec-fetch-site": "cross-site"}, {}),
    ({"sec-fetch-site": "same-site"}, {}),
    ({}, {"form_token": ""}),
    ({}, {"form_token": "0" * 64}),
]


@pytest.mark.parametrize(("headers", "form"), FOREIGN, ids=str)
def test_a_form_of_another_page_changes_nothing(
    journal: Journal, headers: dict[str, str], form: dict[str, str]
) -> None:
    record = put_call(journal)
    page = Page(journal)
    with page.sign_in_as("ada") as ada, page.browser() as visitor:
        response = ada.answer(record, "approve", headers=headers, **form)
        assert response.status_code == 403
        assert "nothing was changed" in response.text
        credentials = {"name": "ada", "password": PASSWORD, **form}
        assert visitor.send("/sign-in", headers=headers, **credentials).status_code == 403
    assert state(page, record.key) is State.AWAITING


def test_the_form_of_one_person_is_not_that_of_another(journal: Journal) -> None:
    record = put_call(journal)
    page = Page(journal)
    with page.sign_in_as("ada") as ada, page.sign_in_as("bob") as bob:
        token = bob.token(f"/calls/{record.key}")
        assert ada.answer(record, "approve", form_token=token).status_code == 403


def test_another_name_of_this_host_is_refused(journal: Journal) -> None:
    with Page(journal).sign_in_as("ada") as ada:
        for name in ("evil.example", "[::", "127.0.0.1:65536"):
            assert ada.client.get("/", headers={"host": name}).status_code == 400
    public = Page(journal, public_url="https://approvals.example")
    with public.sign_in_as("bob") as bob:
        assert bob.show("/").status_code == 200
        response = bob.send("/sign-in", page="/", name="bob", password=PASSWORD)
        assert "; secure" in response.headers["set-cookie"].lower()
        assert bob.client.get("/", headers={"host": "approvals.example:81"}).status_code == 400


def test_passwords_cannot_be_guessed_fast(journal: Journal) -> None:
    page = Page(journal)
    page.accounts.add("ada", {"viewer"}, None, by="root")
    with page.browser() as visitor:
        for _ in range(60):
            reply = visitor.send("/sign-in", name="ada", password="x")
            if reply.status_code == 429:
                break
    assert "try again in" in alert(reply)


def fail_to_sign_in(visitor: Browser, number: int = 60, *, client: str = "") -> int:
    """Guess the password of a new name each time, until it is refused; return the last status."""
    headers = {"X-Forwarded-For": client} if client else {}
    for attempt in range(number):
        reply = visitor.send("/sign-in", headers=headers, name=f"guess-{attempt}", password="x")
        if reply.status_code == 429:
            break
    return int(reply.status_code)


def test_attempts_to_sign_in_are_counted_for_each_client(journal: Journal) -> None:
    page = Page(journal, address="2001:db8::1")
    page.accounts.add("ada", {"viewer"}, PASSWORD, by="root")
    with page.browser() as visitor:
        assert fail_to_sign_in(visitor) == 429
    page.address = "2001:db8::2"  # of the same network
    with page.browser() as visitor:
        assert fail_to_sign_in(visitor, 5) == 429
    page.address = "2001:db8:0:1::1"
    for _ in range(12):  # whose password is right is not counted
        with page.browser() as visitor:
            reply = visitor.send("/sign-in", name="ada", password=PASSWORD)
            assert reply.status_code == 303


@pytest.mark.parametrize(("trusted", "status"), [("127.0.0.1", 401), ("10.9.9.9", 429)])
def test_a_trusted_proxy_names_the_clients(tmp_path: Path, trusted: str, status: int) -> None:
    Journal(tmp_path / "calls.db").close()
    with (
        serving(tmp_path, "--forwarded-allow-ips", trusted) as url,
        httpx.Client(base_url=url, trust_env=False) as client,
    ):
        visitor = Browser(client, url)
        assert fail_to_sign_in(visitor, client="203.0.113.1") == 429
        assert fail_to_sign_in(visitor, 5, client="203.0.113.2") == status
        assert fail_to_sign_in(visitor, 5, client="203.0.113.1") == 429
    with closing(Journal(tmp_path / "calls.db")) as journal:
        addresses = {entry.details["address"] for entry in Page(journal).accounts.audit()}
    forwarded = {"203.0.113.1", "203.0.113.2"}
    assert addresses == (forwarded if status == 401 else {"127.0.0.1"})


@pytest.mark.parametrize("address", ["*", "proxy.example.com"])
def test_only_addresses_are_trusted_proxies(journal: Journal, address: str) -> None:
    visitors = Visitors(Page(journal).accounts)
    with pytest.raises(ConfigurationError, match="--forwarded-allow-ips"):
        serve(
            *(Page(journal).accounts, visitors),
            host="127.0.0.1",
            port=0,
            forwarded_allow_ips=[address],
        )


def test_a_proxy_that_signs_people_in_names_no_other_clients(journal: Journal) -> None:
    accounts = Page(journal).accounts
    visitors = Visitors(accounts, proxy=PROXY)
    with pytest.raises(ConfigurationError, match="pass one of them"):
        serve(accounts, visitors, host="127.0.0.1", port=0, forwarded_allow_ips=["10.0.0.1"])


def test_a_link_signs_in_once_and_only_by_a_form(journal: Journal) -> None:
    page = Page(journal)
    page.accounts.add("demo", {"approver"}, None, by="root")
    path = f"/sign-in?link={page.accounts.create_link('demo')}"
    with page.browser() as first, page.browser() as second:
        assert "Go on as demo" in first.show(path).text
        assert "Go on as demo" in first.show(path).text
        link = path.partition("=")[2]
        assert first.send("/sign-in", page=path, link=link).status_code == 303
        assert first.show("/").status_code == 200
        assert "This link was used" in second.show(path).text
        assert second.send("/sign-in", link=link).status_code == 401


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example"])
def test_signing_in_leads_to_no_other_site(journal: Journal, target: str) -> None:
    page = Page(journal)
    page.accounts.add("ada", {"viewer"}, PASSWORD, by="root")
    with page.browser() as visitor:
        response = visitor.send("/sign-in", name="ada", password=PASSWORD, next=target)
    assert response.headers["location"] == "/"


# -- people signed in by a proxy


def test_the_proxy_signs_people_in_and_unknown_ones_are_viewers(journal: Journal) -> None:
    record = put_call(journal)
    page = Page(journal, proxy=PROXY, address="10.0.0.7")
    page.accounts.add("ada", {"approver"}, None, by="root")
    with page.browser() as browser:
        browser.client.headers.update({SECRET_HEADER: SECRET, "X-Forwarded-User": "eve"})
        assert browser.answer(record, "approve").status_code == 403
        browser.client.headers.update({"X-Forwarded-User": "ada"})
        assert browser.send("/sign-in", page="/", name="ada", password="").status_code == 403
        assert browser.answer(record, "approve").status_code == 303
    approval = page.inbox.get(record.key).record.approval
    assert approval is not None
    assert (approval.approver, approval.verified) == ("ada", True)


@pytest.mark.parametrize(
    ("address", "headers"),
    [
        ("10.0.0.7", []),
        ("10.0.0.7", [("X-Forwarded-User", "ada")]),
        ("10.0.0.7", [(SECRET_HEADER, SECRET)]),
        ("10.0.0.7", [(SECRET_HEADER, "wrong"), ("X-Forwarded-User", "ada")]),
        ("10.0.0.7", [(SECRET_HEADER, SECRET), ("X-Forwarded-User", "")]),
        ("10.0.0.7", [(SECRET_HEADER, SECRET), *[("X-Forwarded-User", "ada")] * 2]),
        ("10.0.0.7", [*[(SECRET_HEADER, SECRET)] * 2, ("X-Forwarded-User", "ada")]),
        ("10.0.1.7", [(SECRET_HEADER, SECRET), ("X-Forwarded-User", "ada")]),
        ("127.0.0.1", [("X-Forwarded-User", "ada")]),
        ("127.0.0.1", [(SECRET_HEADER, SECRET), ("X-Forwarded-User", "ada")]),
    ],
    ids=str,
)
def test_a_header_that_is_not_the_proxys_is_refused(
    journal: Journal, address: str, headers: list[tuple[str, str]]
) -> None:
    page = Page(journal, proxy=PROXY, address=address)
    page.accounts.add("ada", {"admin"}, None, by="root")
    with page.browser() as browser:
        response = browser.client.get("/", headers=headers)
    assert (response.status_code, "ada" in response.text) == (403, False)


@pytest.mark.parametrize(
    ("addresses", "secret"), [((), SECRET), (("10.0.0.300",), SECRET), (("10.0.0.1",), "short")]
)
def test_a_proxy_without_address_or_secret_is_refused(
    addresses: tuple[str, ...], secret: str
) -> None:
    with pytest.raises(ConfigurationError):
        TrustedProxy.of("X-Forwarded-User", addresses, secret)


@pytest.mark.parametrize(
    "url",
    ["http://approvals.example", "approvals.example", "ftp://a", "https://[::", "https://a:65536"],
)
def test_the_page_is_not_public_without_encryption(journal: Journal, url: str) -> None:
    with pytest.raises(ConfigurationError):
        Visitors(Page(journal).accounts, public_url=url)
    assert HERE.startswith("http://127.")
