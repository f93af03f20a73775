"""The notebooks run from a clean kernel and print their stored outputs.

The last two start and kill a dozen processes; they run when BIGHUB_NOTEBOOKS is "all".
"""

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.documents import ROOT

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("matplotlib")
pytest.importorskip("ipykernel")

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LONG = ("05_", "06_")
ALL = os.environ.get("BIGHUB_NOTEBOOKS") == "all"
LONGEST = 180

notebooks = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@notebooks
def test_a_notebook_runs_and_prints_its_stored_outputs(
    path: Path, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if path.name.startswith(LONG) and not ALL:
        pytest.skip('BIGHUB_NOTEBOOKS is not "all"')
    if path.name.startswith("06_"):
        monkeypatch.setenv("BIGHUB_TEST_POSTGRES", request.getfixturevalue("notebook_database"))
    monkeypatch.delenv("BIGHUB_RUNS", raising=False)
    shutil.copy(path.parent / "record_sample.py", tmp_path)
    stored = nbformat.read(path, as_version=4)
    executed = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(
        executed, timeout=LONGEST, kernel_name="python3", resources=resources
    ).execute()
    assert cell_outputs(executed) == cell_outputs(stored)


@pytest.fixture
def notebook_database(request: pytest.FixtureRequest) -> Any:
    from tests import postgres

    with postgres.database(request.getfixturevalue("postgres_server")) as url:
        yield url


def cell_outputs(notebook: Any) -> list[str]:
    """The output of each cell, without numbers and ids that differ from run to run."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return ["".join(stable_text(output) for output in cell.outputs) for cell in cells]


def stable_text(output: Any) -> str:
    text = output.get("text") or output.get("data", {}).get("text/plain", "")
    return re.sub(r"\b(?:req_)?[0-9a-f]{32}\b|\d+(?:\.\d+)*", "#", text)


@notebooks
def test_a_notebook_is_stored_with_its_outputs_and_without_paths_of_a_machine(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert any(cell.outputs for cell in code)
    kinds = {output.output_type for cell in code for output in cell.outputs}
    assert "error" not in kinds
    assert not any(output.get("name") == "stderr" for cell in code for output in cell.outputs)
    assert not re.search(r"/(?:home|root|tmp|Users|work|opt)/", path.read_text(encoding="utf-8"))


def sources_of(number: str) -> list[str]:
    (path,) = (path for path in NOTEBOOKS if path.name.startswith(number))
    notebook = nbformat.read(path, as_version=4)
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize(
    ("number", "module"),
    [
        ("02", "langchain.agents"),
        ("04", "matplotlib"),
        ("05", "langgraph.checkpoint.sqlite"),
        ("06", "langgraph.checkpoint.postgres"),
        ("06", "fastapi"),
    ],
)
def test_a_notebook_says_at_once_which_package_it_lacks(
    number: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"{module}.*pip install '\.\[notebooks\]'"):
        exec(sources_of(number)[0], {})


@pytest.mark.parametrize("ends", ["before it asks", "before it pays"])
def test_a_notebook_whose_worker_fails_ends_with_the_workers_message(ends: str) -> None:
    names: dict[str, Any] = {}
    first, *cells = sources_of("05")
    exec(first, names)
    asks = "if sys.argv[3] == 'start': sys.exit(0)\n" if ends == "before it pays" else ""
    (names["folder"] / "worker.py").write_text(f"import sys\n{asks}sys.exit('out of money')")
    (cell,) = (source for source in cells if "def kill_while_paying" in source)
    with pytest.raises(RuntimeError, match="out of money"):
        exec(cell, names)


def test_there_are_six_notebooks() -> None:
    assert [path.name[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05", "06"]


@notebooks
def test_a_notebook_starts_with_a_title(path: Path) -> None:
    first = json.loads(path.read_text(encoding="utf-8"))["cells"][0]
    assert first["cell_type"] == "markdown"
    assert "".join(first["source"]).startswith("# ")


@notebooks
def test_the_first_cell_of_a_notebook_says_what_is_needed(path: Path) -> None:
    first = json.loads(path.read_text(encoding="utf-8"))["cells"][0]
    assert "**What you need**" in "".join(first["source"])
    assert "pip install '.[notebooks]'" in "".join(first["source"])


@notebooks
def test_a_notebook_shows_pictures_that_need_no_network(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells)
    assert "draw_mermaid" not in text
    for target in re.findall(r"!\[.*?\]\((\S+?)\)", text):
        assert (path.parent / target).exists(), target
