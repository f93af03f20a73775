"""Runs notebooks from a clean kernel and stores their outputs.

python -m tests.refresh_notebooks       # all of them
python -m tests.refresh_notebooks 04
"""

import os
import sys
from pathlib import Path
from typing import Any

import nbclient
import nbformat

from tests.documents import ROOT

LANGUAGE = {"name": "python"}
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def main() -> None:
    """Run the notebooks whose names begin with an argument, or all."""
    prefixes = tuple(sys.argv[1:]) or ("",)
    os.environ.pop("BIGHUB_RUNS", None)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        if path.name.startswith(prefixes):
            refresh(path)
            print(path.name)  # noqa: T201 - a program, not a test


def refresh(path: Path) -> None:
    """Run one notebook, and store only its outputs."""
    notebook: Any = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    resources = {"metadata": {"path": str(path.parent)}}
    nbclient.NotebookClient(
        notebook, timeout=180, kernel_name="python3", record_timing=False, resources=resources
    ).execute()
    notebook.metadata = {"kernelspec": KERNEL, "language_info": LANGUAGE}
    nbformat.write(notebook, path)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
