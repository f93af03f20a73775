"""The page on troubleshooting lists every exception and every message."""

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
# The answers of the embedded engine's API have their own table; the demo's shop is an example.
OTHER_FOLDERS = ("cli/demo", "cli/replay", "local/")
SHORTEST_WORDING = 12


def subclasses(cls: type[BaseException]) -> set[type[BaseException]]:
    return {cls}.union(*(subclasses(subclass) for subclass in cls.__subclasses__()))


def errors() -> list[type[BaseException]]:
    """Every exception of ours."""
    for module in pkgutil.walk_packages(bighub_langgraph.__path__, "bighub_langgraph."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return sorted(subclasses(BighubGuardError), key=lambda cls: cls.__name__)


def messages() -> Iterator[tuple[str, str]]:
    """The place and the longest constant wording of each message of an exception."""
    for path in sorted(PACKAGE.rglob("*.py")):
        place = str(path.relative_to(PACKAGE))
        if place.startswith(OTHER_FOLDERS):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Raise) or not isinstance(node.exc, ast.Call):
                continue
            if getattr(node.exc.func, "id", "") in INTERNAL or not node.exc.args:
                continue
            words = constant_wording(node.exc.args[0])
            if len(words) >= SHORTEST_WORDING:
                yield f"{place}:{node.lineno}", words


# Caught inside the package, or a sign of a bug in it.
INTERNAL = {"AssertionError", "StrictSchemaError", "AttributeError", "RuntimeError", "OSError"}


def constant_wording(node: ast.expr) -> str:
    """The longest part of a message that is constant."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    texts = [
        part.value
        for part in parts
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]
    return max((" ".join(text.split()) for text in texts), key=len, default="").strip(" ,;:.")


@pytest.mark.parametrize("error", errors(), ids=lambda cls: cls.__name__)
def test_every_exception_is_on_the_page(error: type[BaseException]) -> None:
    assert re.search(rf"`{error.__name__}`", PAGE)
    assert error.__doc__


@pytest.mark.parametrize(("place", "words"), list(messages()))
def test_every_message_is_on_the_page(place: str, words: str) -> None:
    assert words in PAGE, f"{place} raises {words!r}, which is not in docs/troubleshooting.md"
