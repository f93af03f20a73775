"""Descriptions for the model, taken from a function's docstring."""

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["described"]

_SECTION = re.compile(
    r"^(args|arguments|parameters|params|returns?|raises|yields?|examples?|notes?|attributes)\s*:?$",
    re.IGNORECASE,
)
_ARGUMENTS = re.compile(r"^(args|arguments|parameters|params)\s*:?$", re.IGNORECASE)
_GOOGLE = re.compile(r"^(?P<name>\*{0,2}\w+)\s*(\([^)]*\))?\s*:\s*(?P<text>.*)$")
_NUMPY = re.compile(r"^(?P<name>\*{0,2}\w+)\s*(:.*)?$")
_SPHINX = re.compile(r"^:param\s+(?:[^:]*\s)?(?P<name>\w+)\s*:\s*(?P<text>.*)$")


def described(fn: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """Give what a function does and what each of its parameters is.

    Google, NumPy and Sphinx styles are read; whatever is in another style stays in the description.
    """
    text = inspect.getdoc(fn) if inspect.isroutine(fn) else inspect.getdoc(type(fn).__call__)
    lines = (text or "").splitlines()
    return _summary(lines), {**dict(_sectioned(lines)), **dict(_sphinx(lines))}


def _summary(lines: list[str]) -> str:
    kept = []
    for line in lines:
        if _SECTION.match(line.strip()) or line.lstrip().startswith(":"):
            break
        kept.append(line)
    return "\n".join(kept).strip()


def _sectioned(lines: list[str]) -> Iterator[tuple[str, str]]:
    body = _arguments_section(lines)
    entries = [line for line in body if line.strip() and not set(line.strip()) <= {"-"}]
    if not entries:
        return
    outer = min(_indent(line) for line in entries)
    entry = _NUMPY if any(set(line.strip()) == {"-"} for line in body if line.strip()) else _GOOGLE
    name, words = "", list[str]()
    for line in entries:
        found = entry.match(line.strip()) if _indent(line) == outer else None
        if found is None:
            words.append(line.strip())
            continue
        if name:
            yield name, " ".join(words).strip()
        name, words = found["name"].lstrip("*"), [found.groupdict().get("text") or ""]
    if name:
        yield name, " ".join(words).strip()


def _arguments_section(lines: list[str]) -> list[str]:
    starts = [number for number, line in enumerate(lines) if _ARGUMENTS.match(line.strip())]
    if not starts:
        return []
    section = []
    for line in lines[starts[0] + 1 :]:
        if _SECTION.match(line.strip()):
            break
        section.append(line)
    return section


def _sphinx(lines: list[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        if found := _SPHINX.match(line.strip()):
            yield found["name"], found["text"]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
