"""Who answers when BIGHUB wants a person: the one at the terminal, or always yes, or always no."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

MOST_PRECEDENTS = 2


class Approve(StrEnum):
    """How calls that wait for a person are answered."""

    YES = "yes"
    NO = "no"
    ASK = "ask"


class NobodyAnswers(Exception):
    """The terminal, or whatever is on stdin, gave no answer."""


Approver = Callable[[Mapping[str, Any]], bool]


def approver(how: Approve, console: Console) -> Approver:
    """Answer each action request of an interrupt with yes or no."""
    if how is Approve.ASK:
        return _Terminal(console)
    return lambda _: how is Approve.YES


class _Terminal:
    """Asks at the terminal, until it is told to say yes to all the rest."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._all = False

    def __call__(self, asked: Mapping[str, Any]) -> bool:
        if self._all:
            return True
        self._console.print(_question(asked))
        answer = ""
        while answer not in {"y", "n", "a"}:
            answer = self._read().strip().lower()[:1]
        self._all = answer == "a"
        return answer != "n"

    def _read(self) -> str:
        try:
            return self._console.input("   run it? \\[y]es, \\[n]o, \\[a]ll yes: ")
        except EOFError as error:
            raise NobodyAnswers from error


def _question(asked: Mapping[str, Any]) -> Padding:
    """What a person should know: the call, BIGHUB's opinion of it, and calls like it."""
    told = asked.get("bighub", {})
    arguments = ", ".join(f"{name}={value!r}" for name, value in asked["args"].items())
    text = Text.assemble((asked["name"], "bold"), f"({arguments})")
    text.append(f"\n{told.get('rationale') or ''}", "dim")
    for one in list(told.get("precedents", ()))[:MOST_PRECEDENTS]:
        text.append(f"\nlike it: {one.get('summary')}: {one.get('outcome')}", "dim")
    return Padding(text, (0, 0, 0, 3))
