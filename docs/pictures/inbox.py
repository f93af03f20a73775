"""Take the pictures of the approval page for the guide for approvers.

    python docs/pictures/inbox.py docs/pictures

A support desk's agent with a scripted model and the embedded engine asks about four calls, and
`bighub-langgraph inbox` serves them. Needs the extra `inbox`, playwright, and chromium, which is
installed or named by BIGHUB_CHROMIUM.
"""
# ruff: noqa: ARG002, INP001, S101, S603, T201 - a script, which prints and starts our own program

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from playwright.sync_api import Page, sync_playwright

from bighub_langgraph import (
    ApprovalPolicy,
    BighubGuard,
    LocalBighub,
    ToolPolicy,
    create_guarded_agent,
)

PASSWORD = "correct horse battery"  # noqa: S105 - of a user that lives as long as the script
WIDTH = 900
PROGRAM = [sys.executable, "-c", "from bighub_langgraph.cli import main; main()"]
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("refund", {"order_id": "O-1043", "amount": 480.0, "currency": "EUR"}),
    ("refund", {"order_id": "O-1044", "amount": 25.0, "currency": "EUR"}),
    ("cancel_order", {"order_id": "O-1051", "reason": "ordered twice"}),
    ("refund", {"order_id": "O-1052", "amount": 18.5, "currency": "EUR"}),
]


def refund(order_id: str, amount: float, currency: str = "EUR") -> str:
    """Pay money back to a customer."""
    return f"refunded {amount:g} {currency} for {order_id}"


def cancel_order(order_id: str, reason: str) -> str:
    """Cancel an order that is not sent yet."""
    return f"{order_id} is cancelled: {reason}"


class Model(GenericFakeChatModel):
    """Replaces a chat model: it makes the calls of the script."""

    def bind_tools(self, tools: Any, **options: Any) -> "Model":
        """Know the tools already."""
        return self


def ask_about_calls(journal: Path) -> None:
    """Run the agent in four threads, each until it waits for a person."""
    engine = LocalBighub()
    policy = ToolPolicy(
        value_from_args=lambda arguments: arguments.get("amount"),
        target_from_args=lambda arguments: str(arguments["order_id"]),
    )
    guard = BighubGuard(
        bighub=engine,
        journal=str(journal),
        name="support-desk",
        domain="payments",
        tools={"refund": policy, "cancel_order": policy},
        approvals=ApprovalPolicy(expires_after=6 * 3600),
    )
    for amount, status in [(20.0, "SUCCESS"), (31.0, "SUCCESS"), (450.0, "FRAUD")] * 3:
        past = {"order_id": f"O-0{amount:g}", "amount": amount, "currency": "EUR"}
        decision = guard.evaluate("refund", past)
        engine.outcomes.report(request_id=decision.request_id, status=status)
    for number, (tool, arguments) in enumerate(CALLS, start=1):
        call = {"name": tool, "args": arguments, "id": f"call_{number}"}
        model = Model(messages=iter([AIMessage("", tool_calls=[call])]))
        agent = create_guarded_agent(
            model, [refund, cancel_order], guard, checkpointer=InMemorySaver()
        )
        thread = {"configurable": {"thread_id": f"conversation-{number}"}}
        agent.invoke({"messages": [("user", "Please help.")]}, thread)
    guard.close()


def take_pictures(page: Page, folder: Path) -> None:
    """Go through the page as an approver does."""
    page.goto("/")
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector("#count")
    page.screenshot(path=folder / "inbox.png")
    page.set_viewport_size({"width": WIDTH, "height": 1060})
    page.get_by_role("link", name="support-desk wants").first.click()
    page.get_by_text("The call expires in").wait_for()
    page.wait_for_load_state("networkidle")
    page.screenshot(path=folder / "inbox-call.png")
    page.locator("#edit").click()
    page.get_by_label("amount").fill("48")
    page.get_by_text("These changes fit the tool.").wait_for()
    page.locator("#answers").screenshot(path=folder / "inbox-edit.png")
    page.get_by_role("button", name="Edit and approve").click()
    page.get_by_role("heading", name="No answer is needed").wait_for()
    page.set_viewport_size({"width": WIDTH, "height": 500})
    page.goto("/history")
    page.screenshot(path=folder / "inbox-history.png")


def main(folder: Path) -> None:
    """Serve the page, and store its pictures in a folder."""
    with tempfile.TemporaryDirectory() as temporary:
        journal = Path(temporary) / "calls.db"
        ask_about_calls(journal)
        options = ["--journal", str(journal)]
        add = ["inbox", "users", "add", "ada", "--role", "approver", *options]
        subprocess.run([*PROGRAM, *add], input=PASSWORD, text=True, check=True, capture_output=True)
        serving = subprocess.Popen(
            [*PROGRAM, "inbox", "--port", "0", *options], stderr=subprocess.PIPE, text=True
        )
        try:
            assert serving.stderr is not None
            running = next(line for line in serving.stderr if "running on" in line)
            [url] = re.findall(r"http://[\d.:]+", running)
            with sync_playwright() as driver:
                browser = driver.chromium.launch(
                    executable_path=os.environ.get("BIGHUB_CHROMIUM") or shutil.which("chromium"),
                    args=["--no-sandbox"] if os.geteuid() == 0 else [],
                )
                context = browser.new_context(base_url=url, color_scheme="light")
                page = context.new_page()
                page.set_viewport_size({"width": WIDTH, "height": 500})
                take_pictures(page, folder)
                browser.close()
        finally:
            serving.terminate()
            serving.communicate(timeout=30)
    for picture in sorted(folder.glob("inbox*.png")):
        print(picture.name, picture.stat().st_size)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
