"""Figures of the package's architecture, to compare two checkouts of it.

Run it as a program:

    python -m tests.architecture
    python -m tests.architecture --json
    python -m tests.architecture --path ../older-checkout

What the figures mean:

- Files, lines: the `*.py` files below `bighub_langgraph`; blank lines, comments and docstrings
  count.
- Median lines of a module and of a function: a function counts from its `def` to its last line,
  without decorators; methods and nested functions are functions, lambdas are not.
- Activations: how often a named function, method or class body whose code stands in the package
  starts in one execution of a flow, in all threads. A coroutine or generator starts once, however
  often it is resumed. Lambdas, comprehensions and generator expressions do not count, and nothing
  that is generated (the `__init__` of a dataclass) or belongs to another package.
- Modules: the modules of the package in which a counted function starts.
- Duplicated pairs: see `duplicated_pairs`.

Each flow is executed several times before it is counted, so that imports and caches are warm. It
is counted several times, and the median is shown, because work that is due now and then (pruning,
delivery by a background thread) may fall into one execution.

The flows are the three functions before `FLOWS`. Deliveries that the end of a run waits for are
part of it.

Only public names of the package and of BIGHUB's SDK are used, so that one version of this program
measures every checkout.
"""

import argparse
import ast
import dis
import importlib
import itertools
import json
import re
import statistics
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

PACKAGE = "bighub_langgraph"
CHECKOUT = Path(__file__).parents[1]
WARM_UP_RUNS = 5
COUNTED_RUNS = 5
MIN_DUPLICATED_LINES = 6
LEARNED_OUTCOMES = 60

Json = dict[str, Any]


@dataclass(frozen=True)
class Flow:
    """What is counted, and what precedes each execution without being counted."""

    run: Callable[[], Any]
    prepare: Callable[[], Any] = lambda: None


@dataclass(frozen=True)
class FlowFigures:
    """One execution of a flow: how many functions of the package start, in how many modules."""

    activations: int
    modules: int


@dataclass(frozen=True)
class Figures:
    """The figures of one checkout."""

    files: int
    lines: int
    median_module_lines: float
    median_function_lines: float
    duplicated_pairs: int
    facade_call: FlowFigures
    guarded_turn: FlowFigures
    engine_decision: FlowFigures


def measure(checkout: Path) -> Figures:
    """Measure the package in a checkout; a process can measure one checkout only."""
    sys.path.insert(0, str(checkout))
    package = Path(importlib.import_module(PACKAGE).__file__ or "").parent
    if package != checkout / PACKAGE:
        raise SystemExit(f"{PACKAGE} comes from {package}, not from {checkout}")
    texts = {
        str(path.relative_to(package)): path.read_text(encoding="utf-8")
        for path in sorted(package.rglob("*.py"))
    }
    # Threads that a flow starts during its warm-up must be profiled later, so it comes first.
    counter = ActivationCounter(package)
    threading.setprofile(counter)
    try:
        flows = {name: count_flow(flow, counter) for name, flow in FLOWS.items()}
    finally:
        threading.setprofile(None)
    return Figures(
        files=len(texts),
        lines=sum(text.count("\n") for text in texts.values()),
        median_module_lines=statistics.median(text.count("\n") for text in texts.values()),
        median_function_lines=statistics.median(
            lines for text in texts.values() for lines in function_lines(text)
        ),
        duplicated_pairs=len(duplicated_pairs(texts)),
        **flows,
    )


# -- source text -----------------------------------------------------------------------------------


def function_lines(text: str) -> list[int]:
    """The number of lines of each function in a module."""
    return [
        (node.end_lineno or node.lineno) - node.lineno + 1
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def duplicated_pairs(texts: dict[str, str]) -> list[tuple[str, str]]:
    """Pairs of places that share at least six consecutive lines, as "file:line" each.

    Lines are compared without indentation. Blank lines, comments, docstrings, imports and lines
    without a letter or digit (closing brackets) are skipped first. A longer common passage is one
    pair; three places with the same passage are three pairs.
    """
    code = {name: code_lines(text) for name, text in texts.items()}
    places: dict[tuple[str, ...], list[tuple[str, int]]] = defaultdict(list)
    for name, lines in code.items():
        for start in range(len(lines) - MIN_DUPLICATED_LINES + 1):
            passage = lines[start : start + MIN_DUPLICATED_LINES]
            places[tuple(line for _, line in passage)].append((name, start))
    pairs = []
    for same in places.values():
        for (name, start), (other, other_start) in itertools.combinations(same, 2):
            overlaps = name == other and other_start < start + MIN_DUPLICATED_LINES
            continues = (
                min(start, other_start) > 0
                and code[name][start - 1][1] == code[other][other_start - 1][1]
            )
            if not overlaps and not continues:
                line, other_line = code[name][start][0], code[other][other_start][0]
                pairs.append((f"{name}:{line}", f"{other}:{other_line}"))
    return sorted(pairs)


def code_lines(text: str) -> list[tuple[int, str]]:
    """The numbered lines of a module that `duplicated_pairs` compares."""
    skipped: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_text or isinstance(node, ast.Import | ast.ImportFrom):
            skipped.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))  # type: ignore[attr-defined]
    numbered = ((number, line.strip()) for number, line in enumerate(text.splitlines(), start=1))
    return [
        (number, line)
        for number, line in numbered
        if number not in skipped and not line.startswith("#") and re.search(r"\w", line)
    ]


# -- activations -----------------------------------------------------------------------------------


class ActivationCounter:
    """A profile function that counts the starts of the package's functions while it is active."""

    def __init__(self, package: Path) -> None:
        self._prefix = f"{package}/"
        self._starts: list[str] | None = None

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        starts = self._starts
        if starts is None or event != "call":
            return
        code = frame.f_code
        if code.co_filename.startswith(self._prefix) and code.co_name[0] != "<" and begins(frame):
            starts.append(code.co_filename)  # atomic, also without a lock

    def count(self, flow: Flow) -> FlowFigures:
        """Execute a flow and count."""
        flow.prepare()
        starts: list[str] = []
        previous = sys.getprofile()
        self._starts = starts
        sys.setprofile(self)
        try:
            flow.run()
        finally:
            sys.setprofile(previous)
            self._starts = None
        return FlowFigures(len(starts), len(set(starts)))


def begins(frame: FrameType) -> bool:
    """Whether a "call" event starts a function; else it resumes a coroutine or a generator."""
    code = frame.f_code
    if not code.co_flags & (CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR):
        return True
    operation, argument = code.co_code[frame.f_lasti], code.co_code[frame.f_lasti + 1]
    # `dis` documents it: the argument's last two bits tell a start from what follows a yield or an
    # await.
    return operation == dis.opmap["RESUME"] and argument & 3 == 0


def count_flow(
    open_flow: Callable[[], AbstractContextManager[Flow]], counter: ActivationCounter
) -> FlowFigures:
    """The median of several executions of a flow, after some that are not counted."""
    with open_flow() as flow:
        for _ in range(WARM_UP_RUNS):
            flow.prepare()
            flow.run()
        counts = [counter.count(flow) for _ in range(COUNTED_RUNS)]
    return FlowFigures(
        statistics.median_low(count.activations for count in counts),
        statistics.median_low(count.modules for count in counts),
    )


# -- flows -----------------------------------------------------------------------------------------


class FakeBighub:
    """A client with the methods of BIGHUB's SDK that gives every evaluation one recommendation."""

    def __init__(self, recommendation: str) -> None:
        self._recommendation = recommendation
        self._ids = itertools.count(1)
        self.actions = SimpleNamespace(submit=self._evaluate, ingest_memory=self._accept)
        self.outcomes = SimpleNamespace(report=self._accept, report_batch=self._accept)
        self.approvals = SimpleNamespace(resolve=self._accept)

    def _evaluate(self, **_: Any) -> Json:
        return {
            "request_id": f"req_{next(self._ids)}",
            "recommendation": self._recommendation,
            "requires_approval": self._recommendation == "review_recommended",
            "enforcement_mode": "advisory",
            "risk_score": 0.1,
        }

    def _accept(self, *_: Any, **__: Any) -> Json:
        return {}


class FakeResponses:
    """`responses.create` of a client of OpenAI's: calls the tool, then answers with a text."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)

    def create(self, **request: Any) -> Json:
        """Answer a request."""
        number = next(self._ids)
        has_result = any(item.get("type") == "function_call_output" for item in request["input"])
        text = {"type": "output_text", "text": "Refunded.", "annotations": []}
        message = {"type": "message", "role": "assistant", "content": [text]}
        call = {
            "type": "function_call",
            "call_id": f"call_{number}",
            "name": "refund",
            "arguments": json.dumps({"order_id": f"o-{number}", "amount": 20.0}),
        }
        item = {"id": f"item_{number}", "status": "completed", **(message if has_result else call)}
        return {"id": f"resp_{number}", "status": "completed", "output": [item]}


@contextmanager
def facade_call() -> Iterator[Flow]:
    """`BighubOpenAI.run` with one tool call that is executed and a text afterwards."""
    from bighub_langgraph import BighubOpenAI, Journal

    def refund(order_id: str, amount: float) -> str:
        """Refund an order."""
        return f"refunded {amount} for {order_id}"

    with BighubOpenAI(
        openai_client=SimpleNamespace(responses=FakeResponses()),
        bighub=FakeBighub("proceed"),
        actor="support-agent",
        domain="shop",
        journal=Journal.in_memory(),
    ) as client:
        client.tool("refund", refund)

        def run() -> None:
            result = client.run(messages="Refund it.", model="gpt-5")
            assert result["execution"]["last"]["status"] == "executed", result

        yield Flow(run)


@contextmanager
def guarded_turn() -> Iterator[Flow]:
    """`create_guarded_agent` with one call that stops for a person, is approved and executed."""
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
    from langchain_core.outputs import ChatGeneration, ChatResult
    from langchain_core.tools import tool
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.types import Command

    from bighub_langgraph import BighubGuard, Journal, create_guarded_agent

    class FakeModel(BaseChatModel):
        def bind_tools(self, *_: Any, **__: Any) -> "FakeModel":
            return self

        def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
            answer = AIMessage("Refunded.")
            if not isinstance(messages[-1], ToolMessage):
                arguments = {"order_id": "o-1", "amount": 20.0}
                answer = AIMessage(
                    "", tool_calls=[{"name": "refund", "args": arguments, "id": "call-1"}]
                )
            return ChatResult(generations=[ChatGeneration(message=answer)])

        @property
        def _llm_type(self) -> str:
            return "fake"

    @tool
    def refund(order_id: str, amount: float) -> str:
        """Refund an order."""
        return f"refunded {amount} for {order_id}"

    threads = itertools.count(1)
    with BighubGuard(
        bighub=FakeBighub("review_recommended"), domain="shop", journal=Journal.in_memory()
    ) as guard:
        graph = create_guarded_agent(FakeModel(), [refund], guard, checkpointer=InMemorySaver())

        def run() -> None:
            config: Any = {"configurable": {"thread_id": f"thread-{next(threads)}"}}
            question = graph.invoke({"messages": [("user", "Refund it.")]}, config)
            assert question["__interrupt__"], question
            approval: Any = Command(resume={"type": "approve"})
            answer = graph.invoke(approval, config)
            assert answer["messages"][-2].content == "refunded 20.0 for o-1", answer

        yield Flow(run)


@contextmanager
def engine_decision() -> Iterator[Flow]:
    """`LocalBighub("sqlite://").decisions.evaluate` after many reported outcomes.

    Before each counted decision an outcome is reported, as in use: the engine cannot answer with
    what it computed for the last decision.
    """
    from bighub_langgraph import LocalBighub

    with LocalBighub("sqlite://") as client:
        numbers = itertools.count(1)

        def evaluate() -> Any:
            number = next(numbers)
            return client.decisions.evaluate(
                action="refund",
                value=20.0 + number % 7,
                target=f"order-{number}",
                actor="support-agent",
                domain="shop",
                context={"arguments": {"amount": 20 + number % 7, "reason": "damaged"}},
                raw=True,
            )

        def report_success() -> None:
            client.outcomes.report(request_id=evaluate()["request_id"], status="SUCCESS")

        for _ in range(LEARNED_OUTCOMES):
            report_success()
        yield Flow(evaluate, prepare=report_success)


FLOWS: dict[str, Callable[[], AbstractContextManager[Flow]]] = {
    "facade_call": facade_call,
    "guarded_turn": guarded_turn,
    "engine_decision": engine_decision,
}


# -- program ---------------------------------------------------------------------------------------

LABELS = {
    "files": "files",
    "lines": "lines",
    "median_module_lines": "median lines of a module",
    "median_function_lines": "median lines of a function",
    "duplicated_pairs": f"duplicated pairs of {MIN_DUPLICATED_LINES} lines or more",
    "facade_call": "facade call, executed",
    "guarded_turn": "guarded turn with an approval",
    "engine_decision": "engine decision",
}
EXAMPLES = """\
examples:
  python -m tests.architecture                          this checkout
  python -m tests.architecture --json > figures.json    for another program
  python -m tests.architecture --path ../old-checkout   the same figures of another checkout
"""


def table(figures: Figures) -> str:
    """The figures as lines of a label and a number each."""
    lines = []
    for name, label in LABELS.items():
        figure = getattr(figures, name)
        if isinstance(figure, FlowFigures):
            figure = f"{figure.activations} activations in {figure.modules} modules"
        lines.append(f"{label:<40}{figure}")
    return "\n".join(lines)


def main() -> None:
    """Print the figures of a checkout."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.architecture",
        description="Print figures of the package's architecture.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--path", type=Path, default=CHECKOUT, metavar="CHECKOUT", help="checkout to measure"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if not (options.path / PACKAGE).is_dir():
        parser.error(f"{options.path} has no folder {PACKAGE}")
    figures = measure(options.path.resolve())
    print(json.dumps(asdict(figures), indent=2) if options.json else table(figures))  # noqa: T201


if __name__ == "__main__":
    main()
