"""The approval page in a real browser: Debian's chromium, driven by playwright."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bighub_langgraph import Journal
from bighub_langgraph.core.models import Answer, State
from bighub_langgraph.local.server.connections import serve_in_background
from tests.approval_page import ARGUMENTS, PASSWORD, Page, put_call, serving

CHROMIUM = os.environ.get("BIGHUB_CHROMIUM") or shutil.which("chromium")
# Where the screenshots are kept; a temporary folder by default.
SCREENSHOTS = os.environ.get("BIGHUB_SCREENSHOTS")
SEEN = {
    "rationale": "refund has 3 of the 5 outcomes it needs; two refunds above 15 were wrong",
    "precedents": [{"summary": "refund of 18", "outcome": "SUCCESS"}],
    "alternatives": [{"action": "ask_customer", "rationale": "the amount is unusual"}],
}

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium: apt-get install chromium, or set BIGHUB_CHROMIUM"
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """The page, served on a free port of loopback."""
    with closing(Journal(tmp_path / "calls.db")) as journal:
        page = Page(journal)
        page.accounts.add("ada", {"approver"}, PASSWORD, by="root")
        with serve_in_background(page.app) as page.base:
            yield page


def open_tab(chromium: Any, page: Page, **options: Any) -> Any:
    """A tab of a new browser profile; what a script raises or the policy blocks fails the test."""
    context = chromium.new_context(base_url=page.base, **options)
    tab = context.new_page()
    tab.problems = []
    tab.on("pageerror", lambda error: tab.problems.append(str(error)))
    tab.on(
        "console",
        lambda message: (
            tab.problems.append(message.text) if "Security Policy" in message.text else None
        ),
    )
    return tab


def sign_in(tab: Any) -> Any:
    tab.goto("/")
    tab.get_by_label("Name").fill("ada")
    tab.get_by_label("Password").fill(PASSWORD)
    tab.get_by_role("button", name="Sign in").click()
    tab.wait_for_selector("#count")
    return tab


def test_an_approver_edits_and_approves_one_call_and_rejects_another(
    chromium: Any, page: Page
) -> None:
    first = put_call(page.accounts.journal, 1, risk=0.9)
    second = put_call(page.accounts.journal, 2, risk=0.5)
    tab = sign_in(open_tab(chromium, page))
    tab.get_by_role("link", name="support-desk wants").first.click()
    tab.locator("#edit").click()
    amount = tab.get_by_label("amount")
    amount.fill("900")
    tab.get_by_text("the edit does not fit refund").wait_for()
    amount.fill("15")
    tab.get_by_text("These changes fit the tool.").wait_for()
    tab.get_by_role("button", name="Edit and approve").click()
    tab.get_by_role("heading", name="No answer is needed").wait_for()
    tab.get_by_role("link", name="Back to the inbox").click()
    tab.get_by_role("link", name="support-desk wants").click()
    tab.locator("#reject").click()
    tab.locator("details[open] [name=text]").fill("too much")
    tab.get_by_role("button", name="Reject").click()
    tab.get_by_role("heading", name="No answer is needed").wait_for()
    tab.get_by_text("reject by ada").wait_for()
    records = [page.inbox.get(record.key).record for record in (first, second)]
    assert [record.state for record in records] == [State.EDITED, State.BLOCKED]
    edit_result = records[0].approval
    assert edit_result is not None
    assert edit_result.edit is not None
    assert (edit_result.edit.values, edit_result.approver, edit_result.verified) == (
        {"/amount": 15},
        "ada",
        True,
    )
    assert records[1].reason == "too much"
    tab.goto("/history")
    assert tab.get_by_text("edit by ada").count() == tab.get_by_text("reject by ada").count() == 1
    assert tab.problems == []


AGENT = """
import sqlite3
from pathlib import Path

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.checkpoint.sqlite import SqliteSaver

from bighub_langgraph import BighubGuard, create_guarded_agent

name = Path(__file__).stem


class Model(GenericFakeChatModel):
    def bind_tools(self, tools, **_):
        return self

    def _generate(self, messages, *args, **options):
        call = {"name": "refund", "args": {"order_id": name, "amount": 20.0}, "id": "c1"}
        reply = AIMessage("", tool_calls=[call])
        if isinstance(messages[-1], ToolMessage):
            reply = AIMessage("Done.")
            Path(f"{name}.read").write_text(messages[-1].content)
        self.messages = iter([reply])
        return super()._generate(messages, *args, **options)


def refund(order_id: str, amount: float) -> str:
    '''Pay money back.'''
    with Path("ran.txt").open("a") as trace:
        trace.write(f"{order_id} refunded {amount:g}\\n")
    return f"refunded {amount:g}"


guard = BighubGuard(name=name, bighub="local", journal="calls.db")
saver = SqliteSaver(sqlite3.connect(f"{name}.db", check_same_thread=False))
graph = create_guarded_agent(Model(messages=iter([])), [refund], guard, checkpointer=saver)

if __name__ == "__main__":
    thread = {"configurable": {"thread_id": name}}
    state = graph.invoke({"messages": [("user", "Refund, please.")]}, thread)
    assert state["__interrupt__"]
    guard.close()
"""
PROGRAM = [sys.executable, "-c", "from bighub_langgraph.cli import main; main()"]


@contextmanager
def working(folder: Path, agent: str) -> Iterator[subprocess.Popen[bytes]]:
    """`bighub-langgraph work` for an agent of a folder, until it has stopped by a signal."""
    worker = subprocess.Popen([*PROGRAM, "work", f"{agent}:graph", "--poll", "0.2"], cwd=folder)
    try:
        yield worker
    finally:
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(120) == 0


def read_result(folder: Path, agent: str, worker: subprocess.Popen[bytes]) -> str:
    """Return what an agent's model reads at its end, for which its worker is waited for."""
    file = folder / f"{agent}.read"
    while not (file.exists() and file.read_text()):
        assert worker.poll() is None
        time.sleep(0.05)
    return file.read_text()


def test_agents_whose_processes_have_ended_go_on_by_their_workers_as_one_answers(
    chromium: Any, tmp_path: Path
) -> None:
    def run(*command: str, text: str = "") -> str:
        options: Any = {"cwd": tmp_path, "input": text, "stdout": subprocess.PIPE}
        return str(subprocess.run(command, check=True, text=True, **options).stdout)

    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text(AGENT)
        run(sys.executable, f"{name}.py")
    run(*PROGRAM, "inbox", "users", "add", "ada", "--role", "approver", text=PASSWORD)
    with (
        serving(tmp_path) as url,
        working(tmp_path, "one") as worker_of_one,
        working(tmp_path, "two") as worker_of_two,
    ):
        context = chromium.new_context(base_url=url)
        context.set_default_timeout(120_000)  # the machine may have much else to do
        tab = sign_in(context.new_page())
        tab.get_by_role("link", name="one wants to run refund").click()
        tab.locator("#edit").click()
        tab.get_by_label("amount").fill("15")
        tab.get_by_role("button", name="Edit and approve").click()
        tab.get_by_role("heading", name="No answer is needed").wait_for()
        edit_result = tab.url
        tab.get_by_role("link", name="Back to the inbox").click()
        tab.get_by_role("link", name="two wants to run refund").click()
        tab.locator("#reject").click()
        tab.locator("details[open] [name=text]").fill("too much")
        tab.get_by_role("button", name="Reject").click()
        tab.get_by_role("heading", name="No answer is needed").wait_for()
        assert "refunded 15" in read_result(tmp_path, "one", worker_of_one)
        assert "too much" in read_result(tmp_path, "two", worker_of_two)
        tab.goto(edit_result)
        tab.get_by_role("link", name="The edited call").click()
        tab.get_by_text("The tool ran.", exact=True).wait_for()
        tab.goto("/history")
        assert tab.get_by_text("by ada").count() == 3  # the edit is also the approval of its call
    assert (tmp_path / "ran.txt").read_text() == "one refunded 15\n"
    audit = json.loads(run(*PROGRAM, "inbox", "audit", "--json"))
    answers = [entry for entry in audit if entry["event"] == "answer"]
    assert [(entry["who"], entry["details"]["answer"]) for entry in answers] == [
        ("ada", "edit"),
        ("ada", "reject"),
    ]


def test_a_call_is_cancelled_on_its_page(chromium: Any, page: Page) -> None:
    record = put_call(page.accounts.journal)
    tab = sign_in(open_tab(chromium, page))
    tab.get_by_role("link", name="support-desk wants").click()
    tab.locator("#cancel").click()
    tab.locator("details[open] [name=text]").fill("the order was withdrawn")
    tab.get_by_role("button", name="Cancel the call").click()
    tab.get_by_role("heading", name="No answer is needed").wait_for()
    tab.get_by_text("cancelled by ada: the order was withdrawn").first.wait_for()
    assert page.inbox.get(record.key).state is State.CANCELLED
    assert tab.problems == []


def test_the_keyboard_alone_is_enough(chromium: Any, page: Page) -> None:
    first = put_call(page.accounts.journal, 1, risk=0.9)
    second = put_call(page.accounts.journal, 2, risk=0.5)
    third = put_call(page.accounts.journal, 3, risk=0.4)
    fourth = put_call(page.accounts.journal, 4, risk=0.3)
    tab = open_tab(chromium, page)
    tab.goto("/")
    keys = tab.keyboard
    keys.type("ada")
    keys.press("Tab")
    keys.type(PASSWORD)
    keys.press("Enter")
    tab.wait_for_selector("#count")
    for key in ("j", "a"):  # the first call, and its button
        keys.press(key)
    tab.wait_for_selector("#approve:focus")
    keys.press("Enter")
    tab.get_by_role("heading", name="No answer is needed").wait_for()
    assert page.inbox.get(first.key).state is State.ALLOWED
    tab.goto("/")
    for key in ("j", "j", "k", "r"):
        keys.press(key)
    tab.wait_for_selector("[name=text]:focus")
    keys.type("no")
    keys.press("Tab")
    keys.press("Enter")
    tab.get_by_role("heading", name="No answer is needed").wait_for()
    assert page.inbox.get(second.key).state is State.BLOCKED
    tab.goto("/")
    for key in ("j", "x", "j", "x", "a", "Enter"):  # both that remain, at once
        keys.press(key)
    tab.get_by_text("Your answers").wait_for()
    assert page.inbox.get(third.key).state is page.inbox.get(fourth.key).state is State.ALLOWED
    assert tab.problems == []


def test_an_open_page_follows_what_happens_elsewhere(chromium: Any, page: Page) -> None:
    record = put_call(page.accounts.journal, 1)
    tab = sign_in(open_tab(chromium, page))
    other = sign_in(open_tab(chromium, page))
    other.goto(f"/calls/{record.key}")
    tab_with_text = sign_in(open_tab(chromium, page))
    tab_with_text.goto(f"/calls/{record.key}#reject")
    tab_with_text.locator("details[open] [name=text]").fill("I am writing")
    put_call(page.accounts.journal, 2)
    tab.get_by_role("heading", name="2 calls wait").wait_for()
    tab.get_by_role("link", name="support-desk wants").first.click()
    tab.get_by_role("button", name="Approve", exact=True).click()
    other.get_by_role("heading", name="No answer is needed").wait_for()
    tab_with_text.get_by_text("This call has changed while you were typing.").wait_for()
    assert tab_with_text.locator("details[open] [name=text]").input_value() == "I am writing"
    page.accounts.sign_out(page.accounts.users()[0], "", everywhere=True)
    other.get_by_text("You are signed out.").wait_for()
    assert [tab.problems, other.problems, tab_with_text.problems] == [[], [], []]


def test_what_an_agent_wrote_is_never_run_or_rendered(chromium: Any, page: Page) -> None:
    text = "<img src=x onerror=alert(1)><script>alert(2)</script> \x1b[31m \u202egnp \u200b"
    record = put_call(
        page.accounts.journal, arguments={"order_id": text, "amount": 5.0, text: text}
    )
    tab = open_tab(chromium, page)
    dialogs: list[Any] = []
    tab.on("dialog", lambda dialog: dialogs.append(dialog.message))
    sign_in(tab)
    for path in ("/", f"/calls/{record.key}#edit", "/history"):
        tab.goto(path)
        assert tab.locator("main script, main img").count() == 0
        assert tab.get_by_text("<img src=x onerror=alert(1)>").count()
    assert (dialogs, tab.problems) == ([], [])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_every_page_is_accessible_and_fits(
    chromium: Any, page: Page, tmp_path: Path, scheme: str, width: int
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    journal = page.accounts.journal
    first = put_call(journal, 1, expires_at=time.time() + 600, decision_intelligence=SEEN)
    long = {
        **ARGUMENTS,
        "order_id": "o" * 300,
        "note": "\u202elong " * 300,
        "api_token": "[redacted]",
    }
    second = put_call(journal, 2, long, risk=0.9, locked_pointers=("/api_token",))
    only_approve = (Answer.APPROVE, Answer.REJECT)
    third = put_call(
        journal, 3, {"order_id": "x"}, tool="delete", risk=0.2, allowed_decisions=only_approve
    )
    folder = Path(SCREENSHOTS) if SCREENSHOTS else tmp_path
    tab = open_tab(chromium, page, viewport={"width": width, "height": 800}, color_scheme=scheme)

    def check(name: str) -> None:
        tab.screenshot(path=folder / f"{name}-{scheme}-{width}.png", full_page=True)
        faults = axe.run(tab).response["violations"]
        serious = [fault for fault in faults if fault["impact"] in {"serious", "critical"}]
        assert serious == [], name
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, name

    tab.goto("/sign-in")
    check("sign-in")
    sign_in(tab)
    tab.keyboard.press("j")
    tab.keyboard.press("x")
    check("inbox")
    tab.goto("/?agent=nobody")
    check("inbox-filtered")
    tab.goto(f"/calls/{first.key}")
    check("call")
    tab.goto(f"/calls/{second.key}#edit")
    check("edit")
    tab.goto(f"/calls/{third.key}#reject")
    tab.get_by_role("button", name="Reject").click()
    tab.get_by_role("heading", name="No answer is needed").wait_for()
    check("answered")
    tab.goto("/history")
    tab.locator(".menu summary").click()
    check("history")
    tab.goto("/nothing")
    check("error")
    assert tab.problems == []
