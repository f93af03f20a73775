"""`work`: a worker as an operator starts and stops it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bighub_langgraph import Journal
from bighub_langgraph.approvals.cards import Approver
from bighub_langgraph.approvals.inbox import ApprovalInbox

COMMAND = [sys.executable, "-c", "from bighub_langgraph.cli import main; main()", "work"]
ADA = Approver("ada", verified=True, roles=frozenset({"approver"}))
PROGRAM = '''
import sqlite3, time
from contextlib import asynccontextmanager
from pathlib import Path
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.language_models import GenericFakeChatModel
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from bighub_langgraph import BighubGuard, create_guarded_agent
from bighub_langgraph.approvals.resume_worker import ApprovalWorker

class Model(GenericFakeChatModel):
    def bind_tools(self, tools, **_):
        return self

    def _generate(self, messages, *args, **options):
        if Path("broken").exists():
            raise ConnectionError("the model is away")
        calls = [{"name": "refund", "args": {"amount": 5.0}, "id": "c1"}]
        is_done = isinstance(messages[-1], ToolMessage)
        self.messages = iter([AIMessage("done") if is_done else AIMessage("", tool_calls=calls)])
        return super()._generate(messages, *args, **options)

def refund(amount: float) -> str:
    """Pay money back."""
    with Path("ran").open("a") as file:
        file.write("refund\\n")
    Path("started").touch()
    time.sleep(0.5 if Path("slow").exists() else 0)
    return "refunded"

guard = BighubGuard(bighub="local", journal="calls.db", name="desk")
saver = SqliteSaver(sqlite3.connect("threads.db", check_same_thread=False))
graph = create_guarded_agent(Model(messages=iter([])), [refund], guard, checkpointer=saver)

def create_worker():
    return ApprovalWorker(graph, guard, poll=0.1)

@asynccontextmanager
async def open_async_worker():
    async with AsyncSqliteSaver.from_conn_string("threads.db") as saver:
        model = Model(messages=iter([]))
        graph = create_guarded_agent(model, [refund], guard, checkpointer=saver)
        yield ApprovalWorker(graph, guard, poll=0.1)

async def create_nothing():
    return guard

if __name__ == "__main__":
    graph.invoke({"messages": [("user", "refund")]}, {"configurable": {"thread_id": "t"}})
    guard.close()
'''


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory with an agent that waits for an answer."""
    (tmp_path / "agent.py").write_text(PROGRAM)
    subprocess.run([sys.executable, "agent.py"], cwd=tmp_path, check=True)
    return tmp_path


def answer(home: Path) -> None:
    journal = Journal(home / "calls.db")
    inbox = ApprovalInbox(journal)
    for card in inbox.list():
        inbox.answer(card.key, "approve", approver=ADA)
    journal.close()


def work(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=home, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "target", ["agent:graph", "agent:create_worker", "agent:open_async_worker"]
)
def test_an_answered_thread_is_run_to_its_end(home: Path, target: str) -> None:
    assert work(home, target, "--once").returncode == 0
    assert not (home / "ran").exists()
    answer(home)
    result = work(home, target, "--once")
    assert (result.returncode, (home / "ran").read_text()) == (0, "refund\n")
    assert "agent 'desk': thread 't' goes on" in result.stderr


def test_a_thread_that_fails_is_listed(home: Path) -> None:
    answer(home)
    (home / "broken").touch()
    result = work(home, "agent:graph", "--once")
    assert (result.returncode, (home / "ran").read_text()) == (1, "refund\n")
    assert "t failed 1 times: the model is away" in result.stdout


def test_with_log_format_json_each_line_names_the_thread(home: Path) -> None:
    answer(home)
    (home / "broken").touch()
    done = work(home, "agent:graph", "--once", "--log-format", "json")
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    shown = [
        (line["level"], line["bighub_agent"], line["bighub_thread"])
        for line in lines
        if "bighub_agent" in line
    ]
    assert shown == [("info", "desk", "t"), ("error", "desk", "t")]
    [failure] = [line["exception"] for line in lines if "exception" in line]
    assert "ConnectionError: the model is away" in failure


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("target", ["agent:create_worker", "agent:open_async_worker"])
def test_a_signal_lets_the_running_thread_come_to_its_end(
    home: Path, target: str, number: signal.Signals
) -> None:
    answer(home)
    (home / "slow").touch()
    worker = subprocess.Popen([*COMMAND, target], cwd=home, stderr=subprocess.PIPE, text=True)
    assert worker.stderr is not None
    while not (home / "started").exists():
        assert worker.poll() is None
        os.sched_yield()
    worker.send_signal(number)
    worker.stderr.read()
    worker.stderr.close()
    assert worker.wait(30) == 0
    (home / "slow").unlink()
    after = work(home, "agent:graph", "--once")
    assert (after.returncode, "goes on" in after.stderr) == (0, False)
    assert (home / "ran").read_text() == "refund\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("agent",), "names no object: pass MODULE:OBJECT"),
        (("agent:",), "names no object: pass MODULE:OBJECT"),
        (("nowhere:graph",), "is not the MODULE:OBJECT of something that exists"),
        (("agent:nothing",), "is not the MODULE:OBJECT of something that exists"),
        (("agent:graph", "--guard", "agent:nothing"), "is not the MODULE:OBJECT"),
        (("agent:guard",), "returns one is needed, not BighubGuard"),
        (("agent:create_nothing",), "returns one is needed, not BighubGuard"),
    ],
)
def test_what_is_no_worker_ends_with_two(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    (tmp_path / "agent.py").write_text(PROGRAM)
    result = work(tmp_path, *arguments)
    assert result.returncode == 2
    assert words in " ".join(result.stderr.split())


FAILING = """
from contextlib import asynccontextmanager, contextmanager

def with_an_argument(name):
    pass

async def coroutine():
    raise ConnectionError("no database")

@contextmanager
def context():
    raise ConnectionError("no database")
    yield

@asynccontextmanager
async def async_context():
    raise ConnectionError("no database")
    yield
"""


@pytest.mark.parametrize(
    ("content", "target", "words"),
    [
        ("raise KeyError('STRIPE_KEY')", "agent:graph", "KeyError: 'STRIPE_KEY'"),
        ("graph = (", "agent:graph", "SyntaxError: '(' was never closed"),
        (
            "raise OSError('postgresql://desk:geheim@db/calls')",
            "agent:graph",
            "OSError: postgresql",
        ),
        (FAILING, "agent:with_an_argument", "TypeError"),
        (FAILING, "agent:coroutine", "ConnectionError: no database"),
        (FAILING, "agent:context", "ConnectionError: no database"),
        (FAILING, "agent:async_context", "ConnectionError: no database"),
    ],
)
def test_what_fails_in_the_users_module_is_said_in_one_sentence(
    tmp_path: Path, content: str, target: str, words: str
) -> None:
    (tmp_path / "agent.py").write_text(content)
    result = work(tmp_path, target)
    assert result.returncode == 2
    assert f"error: {target} failed with {words}" in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert "geheim" not in result.stderr
