"""The shape of the house: layers, pure modules, light imports, modules one can read."""

import ast
import subprocess
import sys
from pathlib import Path

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


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = bighub_langgraph.nothing_of_the_kind
