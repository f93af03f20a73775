"""Every error says what to do, and the page on troubleshooting says more."""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import bighub_langgraph
from bighub_langgraph.core.errors import BighubGuardError
from tests.documents import ROOT

PACKAGE = Path(bighub_langgraph.__file__).parent
PAGE = " ".join((ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8").split())
# Answers of the embedded engine's API have a table of their own; the demo's shop is a play.
ELSEWHERE = ("cli/demo", "cli/replay", "local/")
LEAST = 12


def subclasses(cls: type[BaseException]) -> set[type[BaseException]]:
    return {cls}.union(*(subclasses(one) for one in cls.__subclasses__()))


def errors() -> list[type[BaseException]]:
    """Every exception of ours."""
    for module in pkgutil.walk_packages(bighub_langgraph.__path__, "bighub_langgraph."):
        # To import the demo for LangGraph's server opens a journal, for all test processes at once.
        if not module.name.endswith(("__main__", "demo.studio")):
            importlib.import_module(module.name)
    return sorted(subclasses(BighubGuardError), key=lambda cls: cls.__name__)


def messages() -> Iterator[tuple[str, str]]:
    """The place and the longest fixed words of each message that we raise an exception with."""
    for path in sorted(PACKAGE.rglob("*.py")):
        place = str(path.relative_to(PACKAGE))
        if place.startswith(ELSEWHERE):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Raise) or not isinstance(node.exc, ast.Call):
                continue
            if getattr(node.exc.func, "id", "") in INTERNAL or not node.exc.args:
                continue
            words = fixed(node.exc.args[0])
            if len(words) >= LEAST:
                yield f"{place}:{node.lineno}", words


# Caught by us before anybody sees them, or a sign of a mistake of ours.
INTERNAL = {"AssertionError", "StrictSchemaError", "AttributeError", "RuntimeError", "OSError"}


def fixed(node: ast.expr) -> str:
    """The longest stretch of a message that does not depend on the case."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    texts = [
        one.value for one in parts if isinstance(one, ast.Constant) and isinstance(one.value, str)
    ]
    return max((" ".join(text.split()) for text in texts), key=len, default="").strip(" ,;:.")


@pytest.mark.parametrize("error", errors(), ids=lambda cls: cls.__name__)
def test_every_exception_is_on_the_page(error: type[BaseException]) -> None:
    assert re.search(rf"`{error.__name__}`", PAGE)
    assert error.__doc__


@pytest.mark.parametrize(("place", "words"), list(messages()))
def test_every_message_is_on_the_page(place: str, words: str) -> None:
    assert words in PAGE, f"{place} raises {words!r}, and docs/troubleshooting.md does not say it"
