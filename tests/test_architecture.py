"""The architecture: layers, a pure core, few imports at start, modules of a readable length."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import bighub_langgraph

PACKAGE = Path(bighub_langgraph.__file__).parent
NAME = "bighub_langgraph"

# From the lowest to the highest; a module may import from its own layer and from lower ones.
LAYERS = (
    ("core", "circuit_breaker", "concurrency", "json_logs", "testing", "thread_pool"),
    ("telemetry", "telemetry_attributes", "telemetry_metrics", "telemetry_spans"),
    ("sql_engines", "sqldb"),
    ("journal", "bighub", "local"),
    ("delivery_schedule", "delivery_worker"),
    ("guard_runtime",),
    ("graph", "openai"),
    ("guard",),
    ("middleware", "approvals"),
    ("cli",),
)
# Signatures of the hosts may name the guard's type; they use `guard.runtime` only.
TYPE_ONLY = {"graph": f"{NAME}.guard", "openai": f"{NAME}.guard"}
# A function that imports from a higher layer when it is called.
LATE_IMPORTS = {
    # A journal reads what a graph in another process has stored; writers never need it.
    ("journal.result_codecs", "_find_codec"): f"{NAME}.graph",
}
# The core has no clock, client, thread, database or framework.
IMPURE = {
    *("asyncio", "concurrent", "multiprocessing", "os", "random", "select", "signal", "socket"),
    *("sqlite3", "subprocess", "threading", "time"),
    *("bighub", "httpx", "langchain", "langchain_core", "langgraph", "numpy", "openai"),
    *("psycopg", "sqlalchemy"),
}
IMPURE_IMPORTS = {f"{NAME}.core.delivery": {"random"}}  # jitter between two tries
LONGEST_MODULE = 400


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


CORE_MODULES = [path for path in modules() if path.is_relative_to(PACKAGE / "core")]


@cache
def module_names() -> frozenset[str]:
    return frozenset(map(module_name, modules()))


# -- imports ---------------------------------------------------------------------------------------


class Import(NamedTuple):
    """An import of a module.

    Attributes:
        module: The dotted name; "?" where it is not known before the program runs.
        function: The function that imports; "" for imports at the top.
        for_types: Whether it is for type checkers only.
    """

    module: str
    function: str
    for_types: bool


class ImportVisitor(ast.NodeVisitor):
    """Collects the imports of a module, also those in functions and by `import_module`."""

    def __init__(self, module: str, *, is_package: bool) -> None:
        self.imports: list[Import] = []
        self._module = module
        self._package = module if is_package else module.rpartition(".")[0]
        self._functions: list[str] = []
        self._for_types = False

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = self._absolute("." * node.level + (node.module or ""))
        self._add(module)
        for alias in node.names:
            if f"{module}.{alias.name}" in module_names():
                self._add(f"{module}.{alias.name}")
            elif module == NAME and alias.name in bighub_langgraph.__all__:
                self._add(getattr(bighub_langgraph, alias.name).__module__)

    def visit_Call(self, node: ast.Call) -> None:
        called = ast.unparse(node.func).rpartition(".")[2]
        if called in {"import_module", "__import__"}:
            match node.args[0] if node.args else None:
                case ast.Constant(value=str(name)):
                    self._add(self._absolute(name))
                case ast.JoinedStr(values=[ast.FormattedValue(value=ast.Name(id="__name__")), *_]):
                    self._add(self._module)  # a module below this one
                case _:
                    self._add("?")
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._functions.append(node.name)
        self.generic_visit(node)
        self._functions.pop()

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - as `ast` names it

    def visit_If(self, node: ast.If) -> None:
        was_for_types = self._for_types
        self._for_types |= ast.unparse(node.test).endswith("TYPE_CHECKING")
        for statement in node.body:
            self.visit(statement)
        self._for_types = was_for_types
        for statement in [ast.Expr(node.test), *node.orelse]:
            self.visit(statement)

    def _add(self, module: str) -> None:
        function = self._functions[-1] if self._functions else ""
        self.imports.append(Import(module, function, self._for_types))

    def _absolute(self, name: str) -> str:
        relative = name.lstrip(".")
        level = len(name) - len(relative)
        if not level:
            return name
        parents = self._package.split(".")
        return ".".join([*parents[: len(parents) - level + 1], *filter(None, [relative])])


def imports_of(source: str, module: str, *, is_package: bool = False) -> list[Import]:
    visitor = ImportVisitor(module, is_package=is_package)
    visitor.visit(ast.parse(source))
    return visitor.imports


def imports(path: Path) -> list[Import]:
    is_package = path.name == "__init__.py"
    return imports_of(path.read_text(encoding="utf-8"), module_name(path), is_package=is_package)


def own_imports(path: Path) -> list[Import]:
    """The imports of our own modules, without the package itself, which holds the version."""
    return [item for item in imports(path) if item.module.startswith(f"{NAME}.")]


def layer(module: str) -> int | None:
    part = top_level(module)
    return next((number for number, names in enumerate(LAYERS) if part in names), None)


def top_level(module: str) -> str:
    return module.removeprefix(f"{NAME}.").split(".", maxsplit=1)[0]


@pytest.mark.parametrize("path", modules(), ids=module_name)
def test_imports_run_downwards(path: Path) -> None:
    own = layer(module_name(path))
    if own is None:  # the package itself exports the public names, and imports none at its top
        return
    upwards = {item for item in own_imports(path) if (layer(item.module) or 0) > own}
    module = module_name(path).removeprefix(f"{NAME}.")
    allowed = {
        item
        for item in upwards
        if (item.for_types and item.module == TYPE_ONLY.get(top_level(module_name(path))))
        or item.module == LATE_IMPORTS.get((module, item.function))
    }
    assert upwards - allowed == set()


@pytest.mark.parametrize("path", modules(), ids=module_name)
def test_every_module_belongs_to_a_layer(path: Path) -> None:
    assert module_name(path) in {NAME, f"{NAME}.__main__"} or layer(module_name(path)) is not None


def test_every_name_of_a_layer_is_a_module() -> None:
    assert {f"{NAME}.{name}" for names in LAYERS for name in names} - module_names() == set()


@pytest.mark.parametrize("path", CORE_MODULES, ids=module_name)
def test_the_core_imports_nothing_else_of_the_package(path: Path) -> None:
    own = {item.module for item in imports(path) if top_level(item.module) == NAME}
    own |= {item.module for item in own_imports(path)}
    assert {module for module in own if not module.startswith(f"{NAME}.core")} == set()


@pytest.mark.parametrize("path", CORE_MODULES, ids=module_name)
def test_the_core_imports_no_clock_client_thread_database_or_framework(path: Path) -> None:
    impure = {item.module.split(".", maxsplit=1)[0] for item in imports(path)} & IMPURE
    assert impure == IMPURE_IMPORTS.get(module_name(path), set())


def test_concurrency_imports_only_the_exceptions_of_the_core() -> None:
    own = {item.module for item in own_imports(PACKAGE / "concurrency.py")}
    assert own <= {f"{NAME}.core.errors"}


def test_every_late_import_is_needed() -> None:
    for (module, function), imported in LATE_IMPORTS.items():
        path = (PACKAGE / Path(*module.split("."))).with_suffix(".py")
        assert Import(imported, function, for_types=False) in own_imports(path)


def test_the_guard_imports_graphs_only_to_wrap_tools_and_calls() -> None:
    functions = {
        item.function
        for item in own_imports(PACKAGE / "guard.py")
        if top_level(item.module) == "graph"
    }
    assert functions == {"wrap_tool_call", "awrap_tool_call", "wrap_tools"}


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {
        module_name(path): {
            item.module
            for item in imports(path)
            if item.module in module_names()
            and item.module != module_name(path)
            and not item.function
            and not item.for_types
        }
        for path in modules()
    }
    done: set[str] = set()
    while ready := {name for name, needs in graph.items() if name not in done and needs <= done}:
        done |= ready
    assert set(graph) - done == set()


@pytest.mark.parametrize("path", modules(), ids=module_name)
def test_every_import_names_its_module(path: Path) -> None:
    assert "?" not in {item.module for item in imports(path)}


@pytest.mark.parametrize("path", modules(), ids=module_name)
def test_a_module_can_be_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE


def test_no_two_classes_have_the_same_name() -> None:
    modules_by_class: dict[str, list[str]] = {}
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                modules_by_class.setdefault(node.name.strip("_"), []).append(module_name(path))
    assert {name: places for name, places in modules_by_class.items() if len(places) > 1} == {}


SAMPLE = f"{NAME}.core.sample"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import os.path", ("os.path", "", False)),
        ("def f():\n    import time", ("time", "f", False)),
        ("class A:\n    async def f(self):\n        import time", ("time", "f", False)),
        (f"from {NAME}.core import errors", (f"{NAME}.core.errors", "", False)),
        (f"from {NAME} import BighubGuard", (f"{NAME}.guard", "", False)),
        ("from . import errors", (f"{NAME}.core.errors", "", False)),
        ("from ..guard import BighubGuard", (f"{NAME}.guard", "", False)),
        ("if TYPE_CHECKING:\n    import httpx", ("httpx", "", True)),
        ("if typing.TYPE_CHECKING:\n    ...\nelse:\n    import httpx", ("httpx", "", False)),
        (f"import_module('{NAME}.guard')", (f"{NAME}.guard", "", False)),
        ("importlib.import_module('..guard', package=name)", (f"{NAME}.guard", "", False)),
        ("def f():\n    return __import__('time')", ("time", "f", False)),
        ("import_module(f'{__name__}.{name}')", (SAMPLE, "", False)),
        ("import_module(name)", ("?", "", False)),
        ("import_module(f'{other}.{name}')", ("?", "", False)),
    ],
)
def test_an_import_is_found(code: str, expected: tuple[str, str, bool]) -> None:
    assert Import(*expected) in imports_of(code, SAMPLE)


# -- private parts of other packages -------------------------------------------------------------

# The modules that may touch private or undocumented parts of a framework. A contract test of each
# documents what they rely on.
INTERNALS = {"bighub_langgraph.graph.langgraph_internals"}
# Looks private and is not: our own objects, our own fields, names of the standard library.
ALLOWED = {
    # The SDK has no option for its HTTP client; see the contract test in `test_bighub_limits`.
    "bighub_langgraph.bighub.client_factory": {"_client", "_transport"},
    "bighub_langgraph.cli.demo.views": {"_id"},  # how the demo's arguments end
    "bighub_langgraph.cli.replay.shadow": {"_id"},
    "bighub_langgraph.graph.guarded_tools": {"__signature__"},  # which `inspect` documents
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
    """Whether a name, or the last part of a dotted name, is private."""
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
    """The names that a node takes from an object, and whether the object is its own."""
    match node:
        case ast.Attribute(value=ast.Name(id="object"), attr="__new__"):
            yield "__new__", False
        case ast.Attribute(value=base, attr=name):
            yield name, ast.unparse(base) in {"self", "cls", "super()"}
        case ast.Constant(value=str(text)) if re.fullmatch(r"[\w.]+", text):
            yield text, False  # for `getattr`, `attrgetter`, `import_module`, `vars(x)[...]`
        case ast.ImportFrom(module=module, names=names):
            yield module or "", False
            yield from ((alias.name, False) for alias in names)
        case ast.Import(names=names):
            yield from ((alias.name, False) for alias in names)


@cache
def our_names() -> frozenset[str]:
    """The names that our classes may inherit from each other."""
    trees = [ast.parse(path.read_text("utf-8")) for path in modules()]
    return frozenset(name for tree in trees for name in own_names(tree))


def private_accesses(source: str, inherited: frozenset[str] = frozenset()) -> list[str]:
    """Every access of a module to private parts of other packages, with its line."""
    tree = ast.parse(source)
    own = inherited | own_names(tree)
    classes = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    accesses = [
        (getattr(node, "lineno", 0), name)
        for node in ast.walk(tree)
        for name, is_own_object in names_touched(node)
        if (is_private(name) or name == "__new__")
        and not (is_own_object and name in own)
        and name not in classes  # an annotation in quotes
    ]
    return [f"line {line}: {name}" for line, name in sorted(accesses)]


def accessed_name(access: str) -> str:
    return re.split(r"[ .]", access)[-1]


@pytest.mark.parametrize("path", modules(), ids=module_name)
def test_no_module_uses_private_parts_of_a_framework(path: Path) -> None:
    allowed = ALLOWED.get(module_name(path), set())
    accesses = private_accesses(path.read_text("utf-8"), our_names())
    foreign = [access for access in accesses if accessed_name(access) not in allowed]
    assert module_name(path) in INTERNALS or foreign == []


def test_every_exception_is_needed() -> None:
    for name in [*ALLOWED, *INTERNALS]:
        path = PACKAGE.parent / Path(*name.split(".")).with_suffix(".py")
        accesses = private_accesses(path.read_text("utf-8"), our_names())
        touched = set(map(accessed_name, accesses))
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


def test_own_names_and_names_of_python_are_no_private_access() -> None:
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


# -- what an import loads --------------------------------------------------------------------------


def loaded_by(statement: str) -> set[str]:
    """The top-level packages that a new interpreter has loaded after a statement."""
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
def test_the_openai_client_loads_its_dependencies_on_first_use(name: str) -> None:
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
for use in ("BighubMiddleware(None)", "class Own(BighubMiddleware): pass"):
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


def test_an_unknown_name_raises_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = bighub_langgraph.nothing_of_the_kind
