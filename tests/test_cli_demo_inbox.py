"""`bighub-langgraph demo --inbox`, as a user runs it: a link, a click, and the agent goes on."""

import re
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from typer.testing import CliRunner

from bighub_langgraph.approvals.cards import Approver
from bighub_langgraph.approvals.inbox import ApprovalInbox
from bighub_langgraph.cli.app import app
from bighub_langgraph.core.models import Answer, State

pytest.importorskip("argon2")
# None cancels the call.
ANSWERS = (*[Answer.APPROVE] * 3, Answer.REJECT, Answer.RESPOND, None)
MAIN = "from bighub_langgraph.cli import main; main()"


def find_hidden_fields(page: str) -> dict[str, str]:
    """The hidden fields of a page's first form."""
    [form, *_] = re.findall(r"<form.*?</form>", page, re.DOTALL)
    fields = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form)
    return dict(fields)


def test_the_demo_goes_on_as_one_answers(tmp_path: Path) -> None:
    file = tmp_path / "demo.db"
    command = [sys.executable, "-c", MAIN, "demo", "--inbox", "--db", str(file)]
    answers: list[str] = []
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo,
        closing(SimpleNamespace(close=demo.kill)),
    ):
        assert demo.stdout is not None
        link = next(line.split()[-1] for line in demo.stdout if "/sign-in?link=" in line)
        address = link.partition("/sign-in")[0]
        with httpx.Client(base_url=address) as browser, ApprovalInbox(file) as inbox:
            fields = find_hidden_fields(browser.get(link).text)
            signed_in = browser.post("/sign-in", data=fields, headers={"origin": address})
            assert signed_in.status_code == 303
            assert "used, or is too old" in httpx.get(link).text
            while demo.poll() is None:
                for card in inbox.list(agent="support-desk"):
                    if not answers:
                        assert f"/calls/{card.key}" in browser.get("/").text
                    answer = ANSWERS[len(answers) % len(ANSWERS)]
                    if answer is None:
                        inbox.cancel(card.key, "withdrawn", approver=Approver("ada"))
                    else:
                        inbox.answer(card.key, answer, approver=Approver("ada"), text="so")
                    answers.append(card.tool)
                with suppress(subprocess.TimeoutExpired):
                    demo.wait(0.05)
        output = demo.stdout.read()
        [line] = (line for line in output.splitlines() if line.startswith("calls evaluated"))
        cards = inbox.list(states=[*State], limit=10_000)
    assert demo.returncode == 0
    assert int(line.split()[-1]) == len(cards)
    assert {"refund_payment", "cancel_order"} <= set(answers)
    assert "Week by week" in output


def test_one_way_to_answer_at_a_time() -> None:
    result = CliRunner().invoke(app, ["demo", "--inbox", "--approve", "yes"])
    assert result.exit_code == 2
    assert "only one of --approve, --ask and --inbox" in result.stderr
