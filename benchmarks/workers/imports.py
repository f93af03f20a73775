"""The time of an import: a new interpreter from start to end, with and without the import."""

import re
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.workers.profiler import STANDARD_LIBRARY, Place, summarize
from benchmarks.workers.stopwatch import Side, Sides, run_program

IMPORT_TIME = re.compile(r"^import time: +(\d+) \| +\d+ \| +(\S+)$", re.MULTILINE)
PROGRAMS = {
    "interpreter": "pass",
    "package": "import bighub_langgraph",
    "facade": "from bighub_langgraph import BighubOpenAI",
    "openai": "import openai",
}


@asynccontextmanager
async def sides(*, runs: int) -> Sides:
    """Each program, after a first run that compiles the modules."""
    del runs
    table = {name: _start_interpreter(program) for name, program in PROGRAMS.items()}
    for side in table.values():
        side()
    yield table


def _start_interpreter(program: str) -> Side:
    return lambda: subprocess.run([sys.executable, "-c", program], check=True)


def profile_imports(name: str) -> dict[str, Any]:
    """The modules and packages with the most own time, measured by the interpreter itself."""
    command = [sys.executable, "-X", "importtime", "-c", PROGRAMS[name]]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    times = ((_locate_module(name), int(own) / 1e3) for own, name in IMPORT_TIME.findall(output))
    return summarize("ms", times)


def _locate_module(module: str) -> Place:
    package = module.partition(".")[0]
    return (STANDARD_LIBRARY if package in sys.stdlib_module_names else package), module


if __name__ == "__main__":
    run_program(sides, profile_imports)
