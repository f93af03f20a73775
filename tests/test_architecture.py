"""The shape of the house: layers, pure modules, light imports, modules one can read."""

import ast
import re
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

# The modules that may touch private or undocumented parts of a framework. A contract test of each
# says what is relied on.
INTERNALS = {"bighub_langgraph.graph.langgraph_internals"}
# What looks private and is not: our own objects, fields of our own, names of the standard library.
ALLOWED = {
    "bighub_langgraph.cli.calls": {"_at"},  # how our names of times end
    "bighub_langgraph.cli.demo.run": {"_id"},  # how the demo's arguments end
    "bighub_langgraph.cli.replay.shadow": {"_id"},
    "bighub_langgraph.core.changing": {"__new__"},  # of our own frozen records
    "bighub_langgraph.core.context": {"_record", "_token"},  # its own slots
    "bighub_langgraph.journal.memory": {"_lock"},  # of journals, in a forked child
    "bighub_langgraph.journal.packing": {"_value_"},  # `enum` documents it
    "bighub_langgraph.journal.sql": {"_beat", "_after_fork"},  # of journals that still exist
    "bighub_langgraph.local.scoring.features": {"_seen"},  # of a copy that it makes
    "bighub_langgraph.openai.tools": {"_resolved_action"},  # a key of the published adapter
}
# Private by their spelling, public by the documentation of `collections.namedtuple`.
NAMED_TUPLE = {"_asdict", "_field_defaults", "_fields", "_make", "_replace"}
DUNDER_OF_PYTHON = {
    *("__annotations__", "__call__", "__cause__", "__class__", "__dict__", "__doc__", "__func__"),
    *("__getattribute__", "__getitem__", "__init__", "__init_subclass__", "__interrupt__"),
    *("__metadata__", "__module__", "__mro__", "__name__", "__next__", "__anext__", "__qualname__"),
    *(
        "__required_keys__",
        "__self__",
        "__slots__",
        "__setattr__",
        "__version__",
        "__wrapped__",
        "__main__",
    ),
    *("__future__",),
}
# Without an underscore, and documented nowhere or only in passing.
UNDOCUMENTED = {"checkpoint_map", "langgraph_auth_user", "__type"}
UNDOCUMENTED |= {f"langgraph_{part}" for part in ("node", "path", "step", "triggers")}


def is_private(name: str) -> bool:
    """Whether a name, or the last part of a dotted one, is somebody's private affair."""
    if name in UNDOCUMENTED or name.startswith("__pregel"):
        return True
    if re.fullmatch(r"__\w+__", name):
        return name not in DUNDER_OF_PYTHON
    return any(
        re.fullmatch(r"_[A-Za-z]\w*", part) and part not in NAMED_TUPLE for part in name.split(".")
    )


def own_names(tree: ast.AST) -> set[str]:
    """The names that the classes of a module define: their methods, attributes and fields."""
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case (
                ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.ClassDef(name=name)
            ):
                names.add(name)
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                names.add(name)
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
    return names


def names_touched(node: Any) -> Iterator[tuple[str, bool]]:
    """The names that a piece of code takes from an object, and whether the object is its own."""
    match node:
        case ast.Attribute(value=ast.Name(id="object"), attr="__new__"):
            yield "__new__", False
        case ast.Attribute(value=base, attr=name):
            yield name, ast.unparse(base) in {"self", "cls", "super()"}
        case ast.Constant(value=str(text)) if re.fullmatch(r"[\w.]+", text):
            yield text, False  # for `getattr`, `attrgetter`, `import_module`, `vars(x)[...]`
        case ast.ImportFrom(module=module, names=names):
            yield module or "", False
            yield from ((one.name, False) for one in names)
        case ast.Import(names=names):
            yield from ((one.name, False) for one in names)


@cache
def our_names() -> frozenset[str]:
    """What our classes may inherit from each other."""
    trees = [ast.parse(path.read_text("utf-8")) for path in modules()]
    return frozenset(name for tree in trees for name in own_names(tree))


def private_accesses(source: str, inherited: frozenset[str] = frozenset()) -> list[str]:
    """Every access of a module to what is private to somebody else, with its line."""
    tree = ast.parse(source)
    own = inherited | own_names(tree)
    classes = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    found = [
        (getattr(node, "lineno", 0), name)
        for node in ast.walk(tree)
        for name, is_own_object in names_touched(node)
        if (is_private(name) or name == "__new__")
        and not (is_own_object and name in own)
        and name not in classes  # an annotation in quotes
    ]
    return [f"line {line}: {name}" for line, name in sorted(found)]


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_nothing_touches_the_private_parts_of_a_framework(path: Path) -> None:
    allowed = ALLOWED.get(dotted(path), set())
    accesses = private_accesses(path.read_text("utf-8"), our_names())
    foreign = [one for one in accesses if re.split(r"[ .]", one)[-1] not in allowed]
    assert dotted(path) in INTERNALS or foreign == []


def test_the_exceptions_are_needed() -> None:
    for name in [*ALLOWED, *INTERNALS]:
        path = PACKAGE.parent / Path(*name.split(".")).with_suffix(".py")
        accesses = private_accesses(path.read_text("utf-8"), our_names())
        touched = {re.split(r"[ .]", one)[-1] for one in accesses}
        assert touched, name
        assert ALLOWED.get(name, set()) <= touched, name


@pytest.mark.parametrize(
    "line",
    [
        "node._messages_key",
        "def f(node):\n    _config = 1\n    return node._config",
        "class C:\n    def f(self, node): self._config = node._config",
        "getattr(node, '_wrap_tool_call', None)",
        "any(getattr(node, name) for name in ('_wrap_tool_call', '_awrap_tool_call'))",
        "attrgetter('tool_node._messages_key')",
        "vars(node)['_messages_key']",
        "object.__getattribute__(node, '_messages_key')",
        "hasattr(thing, '__api_exclude__')",
        "model.__pydantic_validator__.validate_json(text)",
        "config['configurable']['__pregel_read']",
        "config['metadata']['langgraph_triggers']",
        "object.__new__(Request)",
        "from langgraph._internal import _constants",
        "from langgraph.pregel import _algo",
        "import langgraph._internal",
        "import_module('langgraph._internal._constants')",
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
    def _own(self): return self._lock, type(self).__name__, pair._replace(a=1), self._own()
_module_constant = "some words, with _underscores_ in them"
print(_module_constant)
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
    others |= {"jsonschema", "griffe"}
    assert loaded & {*others, "langgraph", "langchain", "langchain_core"} == set()


def test_every_public_name_can_be_imported() -> None:
    for name in bighub_langgraph.__all__:
        assert getattr(bighub_langgraph, name) is not None


NO_LANGCHAIN = "import sys; sys.modules['langchain'] = None"
OLD_LANGCHAIN = """
import sys, types
for name in ("langchain", "langchain.agents", "langchain.agents.middleware"):
    sys.modules[name] = types.ModuleType(name)
"""
USES = """
from bighub_langgraph import *
import bighub_langgraph

help(bighub_langgraph)
for use in ("BighubMiddleware(None)", "class Mine(BighubMiddleware): pass"):
    try:
        exec(use)
    except ImportError as error:
        print(error, file=sys.stderr)
"""


@pytest.mark.parametrize("langchain", [NO_LANGCHAIN, OLD_LANGCHAIN], ids=["none", "too old"])
def test_every_public_name_is_there_without_the_extras(langchain: str) -> None:
    code = f"{langchain}\n{USES}"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [name for name in bighub_langgraph.__all__ if name not in ran.stdout] == []
    missing = (
        "BighubMiddleware needs LangChain 1.4.7 or newer: pip install 'bighub-langgraph[langchain]'"
    )
    assert ran.stderr.splitlines() == [missing] * 2


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = bighub_langgraph.nothing_of_the_kind
