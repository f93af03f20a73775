"""Environments of their own for what cannot live beside us, made when they are first needed."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_READY = "ready"
_VERSIONS = (
    "import json, sys; from importlib.metadata import distributions; "
    "print(json.dumps({d.name: d.version for d in distributions()}))"
)


class NotInstalled(Exception):
    """A room could not be made; what pip said is on stderr."""


@dataclass(frozen=True)
class Room:
    """An environment with some requirements; pip's own settings say where they come from."""

    name: str
    requirements: tuple[str, ...]

    def python(self, rooms: Path) -> Path:
        """Its interpreter, of the version that runs now; the room is made if it is not there."""
        home = rooms / f"{self.name}-python{sys.version_info.major}.{sys.version_info.minor}"
        python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
        if not (home / _READY).exists():
            self._run(sys.executable, "-m", "venv", "--clear", home)
            self._run(python, "-m", "pip", "install", "-qq", *self.requirements)
            (home / _READY).touch()
        return python

    def _run(self, *command: str | Path) -> None:
        if subprocess.run(command, check=False, stdout=sys.stderr).returncode:
            raise NotInstalled(f"{self.name} could not be installed")


def versions(python: str | Path) -> dict[str, str]:
    """The distributions that an interpreter finds."""
    said = subprocess.run([python, "-c", _VERSIONS], check=True, capture_output=True, text=True)
    found: dict[str, str] = json.loads(said.stdout)
    return found


def default_home() -> Path:
    """Where rooms are kept unless one says otherwise: beneath the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "bighub-langgraph" / "benchmarks"
