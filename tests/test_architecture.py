"""The shape of the house: layers, pure modules, light imports, modules one can read."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import bighub_langgraph

PACKAGE = Path(bighub_langgraph.__file__).parent
NAME = "bighub_langgraph"

# From the ground up; a module may import from its own layer and from those before it.
LAYERS = (
    ("core",),
    ("journal", "bighub", "local"),
    ("courier",),
    ("guard",),
    ("graph", "openai"),
    ("middleware",),
    ("cli",),
)
PURE = [
    *("words", "errors", "call", "decision", "verdict", "record", "transitions", "outcome"),
    *("policy", "proposing", "messages", "answers", "asking", "events", "redaction", "plain"),
]
IMPURE = {"asyncio", "time", "threading", "random", "os", "httpx", "openai", "sqlalchemy", "socket"}
LONGEST_MODULE = 400


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def dotted(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, *, late: bool = True) -> set[str]:
    """What a module imports; without `late` only at its top, and not for type checkers."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = ast.walk(tree) if late else iter(tree.body)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found.update(one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def layer(module: str) -> int | None:
    part = module.removeprefix(f"{NAME}.").split(".", maxsplit=1)[0]
    return next((number for number, names in enumerate(LAYERS) if part in names), None)


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_imports_run_downwards(path: Path) -> None:
    own = layer(dotted(path))
    if own is None:  # the package itself gives out the public names, and imports none at its top
        return
    ours = {name for name in imports(path) if name.startswith(f"{NAME}.")}
    assert {name for name in ours if (layer(name) or 0) > own} == set()


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_every_module_belongs_to_a_layer(path: Path) -> None:
    assert dotted(path) in {NAME, f"{NAME}.__main__"} or layer(dotted(path)) is not None


def test_there_are_no_circles() -> None:
    known = {dotted(path): path for path in modules()}
    graph = {
        name: {one for one in imports(path, late=False) if one in known and one != name}
        for name, path in known.items()
    }
    done: set[str] = set()
    while ready := {name for name, needs in graph.items() if name not in done and needs <= done}:
        done |= ready
    assert set(graph) - done == set()


@pytest.mark.parametrize("name", PURE)
def test_a_pure_module_imports_no_client_no_clock_and_no_loop(name: str) -> None:
    found = {one.split(".", maxsplit=1)[0] for one in imports(PACKAGE / "core" / f"{name}.py")}
    assert found & IMPURE == set()


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_a_module_can_be_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE


# -- private parts of other people's packages ------------------------------------------------------

# Modules that may touch private parts of a framework, and what they are for. Each access is held by
# a contract test of the module.
PRIVATE_ACCESS = {
    "bighub_langgraph.graph.langgraph_internals": "the checkpointer, a task's answers, a builder",
    "bighub_langgraph.core.changing": "frozen records of our own, no framework's",
}
# Private by their spelling, public by the documentation of `collections.namedtuple`.
NAMED_TUPLE = {"_asdict", "_field_defaults", "_fields", "_make", "_replace"}
BY_NAME = {"delattr", "getattr", "hasattr", "setattr"}
DUNDER_OF_PYTHON = {
    *("__annotations__", "__call__", "__cause__", "__class__", "__dict__", "__doc__", "__func__"),
    *("__getattribute__", "__getitem__", "__init__", "__metadata__", "__module__", "__mro__"),
    *("__name__", "__qualname__", "__required_keys__", "__self__", "__setattr__", "__wrapped__"),
    *("__aiter__", "__anext__", "__iter__", "__next__", "__enter__", "__exit__", "__version__"),
}


def is_private(name: str) -> bool:
    if name.startswith("__") and name.endswith("__"):
        return name not in DUNDER_OF_PYTHON
    return name.startswith("_") and name not in NAMED_TUPLE and name != "_"


def private_names(tree: ast.AST) -> set[str]:
    """The private names that a module defines itself."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.id if isinstance(node, ast.Name) else node.attr)
    return {name for name in names if is_private(name)}


@cache
def our_private_names() -> frozenset[str]:
    trees = [ast.parse(path.read_text("utf-8")) for path in modules()]
    return frozenset(name for tree in trees for name in private_names(tree))


def private_accesses(source: str, inherited: frozenset[str] = frozenset()) -> list[str]:
    """Every access of a module to what is private to somebody else, with its line.

    Args:
        source: The module.
        inherited: Private names of our other modules, which a class of ours may have inherited.
    """
    tree = ast.parse(source)
    own = private_names(tree)
    found = [
        (getattr(node, "lineno", 0), name)
        for node in ast.walk(tree)
        for name, is_own_object in names_touched(node)
        if is_private(name) and name not in (own | inherited if is_own_object else own)
    ]
    return [f"line {line}: {name}" for line, name in sorted(found)]


def names_touched(node: Any) -> Iterator[tuple[str, bool]]:
    """The names that a piece of code takes from an object, and whether it is its own."""
    match node:
        case ast.Attribute(value=ast.Name(id="object"), attr="__new__"):
            yield "__new__", False
        case ast.Attribute(value=base, attr=name):
            yield name, ast.unparse(base) in {"self", "cls", "super()"}
        case ast.Call(func=ast.Name(id=function), args=[_, ast.Constant(value=str(name)), *_]):
            if function in BY_NAME:
                yield name, False
        case ast.Constant(value=str(text)) if text.startswith("__pregel"):
            yield text, False
        case ast.ImportFrom(module=module, names=names):
            yield from ((part, False) for part in (module or "").split(".") if part != "__future__")
            yield from ((one.name, False) for one in names)
        case ast.Import(names=names):
            yield from ((part, False) for one in names for part in one.name.split("."))


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_nothing_touches_the_private_parts_of_a_framework(path: Path) -> None:
    accesses = private_accesses(path.read_text("utf-8"), our_private_names())
    assert dotted(path) in PRIVATE_ACCESS or accesses == []


def test_the_modules_that_may_touch_private_parts_still_do() -> None:
    for name in PRIVATE_ACCESS:
        path = PACKAGE.parent / Path(*name.split(".")).with_suffix(".py")
        assert private_accesses(path.read_text("utf-8")) != []


@pytest.mark.parametrize(
    "line",
    [
        "node._messages_key",
        "getattr(node, '_wrap_tool_call', None)",
        "hasattr(thing, '__api_exclude__')",
        "model.__pydantic_validator__.validate_json(text)",
        "config['configurable']['__pregel_read']",
        "object.__new__(Request)",
        "from langgraph._internal import _constants",
        "from langgraph.pregel import _algo",
        "import langgraph._internal",
        "class Client(Base):\n    def close(self): self._transport.close()",
        "class Client(Base):\n    def close(self): super()._close()",
    ],
)
def test_a_private_access_is_found(line: str) -> None:
    assert private_accesses(line) != []


def test_what_is_ours_or_pythons_is_no_private_access() -> None:
    source = """
from __future__ import annotations
from bighub_langgraph import __version__
class Ours:
    def __init__(self): self._lock = 1
    def _own(self): return self._lock, type(self).__name__, pair._replace(a=1)
def after_fork(ours): ours._lock = 2
_ = getattr(ours, "_lock")
"""
    assert private_accesses(source) == []


# -- what is imported, and when --------------------------------------------------------------------


def loaded_by(statement: str) -> set[str]:
    """The top-level packages that a fresh interpreter has loaded after a statement."""
    code = f"{statement}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


@pytest.mark.parametrize("name", ["BighubGuard", "ToolPolicy", "ApprovalPolicy", "current_call"])
def test_the_core_names_load_no_framework(name: str) -> None:
    loaded = loaded_by(f"from bighub_langgraph import {name}")
    assert loaded & {"langgraph", "langchain", "langchain_core", "openai", "numpy"} == set()


def test_the_package_itself_loads_nothing_heavy() -> None:
    heavy = {"langgraph", "langchain_core", "openai", "numpy", "sqlalchemy", "pydantic", "httpx"}
    assert loaded_by("import bighub_langgraph") & heavy == set()


@pytest.mark.parametrize("name", ["BighubOpenAI", "AsyncBighubOpenAI", "RunState"])
def test_the_facade_loads_what_its_tools_and_its_clients_need_when_they_come(name: str) -> None:
    loaded = loaded_by(f"from bighub_langgraph import {name}")
    others = {"openai", "pydantic", "bighub", "httpx", "httpx2", "sqlalchemy", "numpy"}
    assert loaded & {*others, "langgraph", "langchain", "langchain_core"} == set()


def test_every_public_name_can_be_imported() -> None:
    for name in bighub_langgraph.__all__:
        assert getattr(bighub_langgraph, name) is not None


WITHOUT_LANGCHAIN = "import sys; sys.modules['langchain'] = None\n"


def test_every_public_name_is_there_without_the_extras() -> None:
    loaded_by(f"{WITHOUT_LANGCHAIN}from bighub_langgraph import *\nBighubMiddleware, BighubOpenAI")


def test_the_help_shows_every_public_name_without_the_extras() -> None:
    code = f"{WITHOUT_LANGCHAIN}import bighub_langgraph\nhelp(bighub_langgraph)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [name for name in bighub_langgraph.__all__ if name not in ran.stdout] == []
    assert "pip install 'bighub-langgraph[langchain]'" in ran.stdout


@pytest.mark.parametrize(
    "use",
    ["BighubMiddleware(None)", "class Mine(BighubMiddleware): pass", "BighubMiddleware.tools"],
)
def test_a_name_whose_extra_is_missing_says_so_when_it_is_used(use: str) -> None:
    code = f"{WITHOUT_LANGCHAIN}from bighub_langgraph import BighubMiddleware\n{use}"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = ran.stderr.strip().splitlines()[-1]
    assert last == (
        "ImportError: BighubMiddleware needs LangChain: pip install 'bighub-langgraph[langchain]'"
    )


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = bighub_langgraph.nothing_of_the_kind
