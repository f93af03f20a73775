"""What an import costs: a fresh interpreter from its start to its end, with and without it."""

import re
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.workers.profiler import PYTHON, Place, told
from benchmarks.workers.stopwatch import Side, Sides, answer

TOLD = re.compile(r"^import time: +(\d+) \| +\d+ \| +(\S+)$", re.MULTILINE)
PROGRAMS = {
    "interpreter": "pass",
    "package": "import bighub_langgraph",
    "facade": "from bighub_langgraph import BighubOpenAI",
    "openai": "import openai",
}


@asynccontextmanager
async def sides(*, runs: int) -> Sides:
    """Each program, after a first run that leaves compiled files behind."""
    del runs
    table = {name: _interpreter(program) for name, program in PROGRAMS.items()}
    for side in table.values():
        side()
    yield table


def _interpreter(program: str) -> Side:
    return lambda: subprocess.run([sys.executable, "-c", program], check=True)


def profiled(name: str) -> dict[str, Any]:
    """The modules and packages with the most own time, as the interpreter itself tells it."""
    command = [sys.executable, "-X", "importtime", "-c", PROGRAMS[name]]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    return told("ms", ((_placed(module), int(own) / 1e3) for own, module in TOLD.findall(said)))


def _placed(module: str) -> Place:
    package = module.partition(".")[0]
    return (PYTHON if package in sys.stdlib_module_names else package), module


if __name__ == "__main__":
    answer(sides, profiled)
