"""A person's changes of a call's arguments, by JSON pointers (RFC 6901)."""

import copy
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bighub_langgraph.core.errors import InvalidCall
from bighub_langgraph.core.jsonable import to_jsonable
from bighub_langgraph.core.redaction import REDACTED, redact


@dataclass(frozen=True, slots=True)
class ArgumentPatch:
    """The changed fields of a call's arguments; all others, redacted ones too, stay as they are.

    Attributes:
        values: New values by JSON pointer.
        removed_pointers: The pointers of the fields that are left out.
        locked_pointers: The pointers of new values that take the place of redacted ones.
    """

    values: Mapping[str, Any]
    removed_pointers: tuple[str, ...] = ()
    locked_pointers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "removed_pointers", tuple(self.removed_pointers))
        object.__setattr__(self, "locked_pointers", tuple(self.locked_pointers))

    @property
    def redacted_values(self) -> dict[str, Any]:
        """The new values as people are shown them."""
        values: dict[str, Any] = redact(to_jsonable(dict(self.values)))
        return values | dict.fromkeys(self.locked_pointers, REDACTED)

    def apply(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return a changed copy of arguments.

        Raises:
            InvalidCall: A pointer leads to no field of them.
        """
        changed_arguments: dict[str, Any] = copy.deepcopy(dict(arguments))
        for pointer, value in self.values.items():
            parent, name = _find(changed_arguments, pointer)
            if isinstance(parent, list) and name == len(parent):
                parent.append(copy.deepcopy(value))
            else:
                parent[name] = copy.deepcopy(value)
        # The last first, so that positions in lists stay right.
        places = [_find(changed_arguments, pointer) for pointer in self.removed_pointers]
        for parent, name in sorted(places, key=lambda place: str(place[1]).zfill(9), reverse=True):
            if not _has(parent, name):
                raise InvalidCall(f"the arguments have no field {name!r:.80}")
            del parent[name]
        return changed_arguments


def parse_pointer(pointer: str) -> list[str]:
    """Return the parts of a JSON pointer.

    Raises:
        InvalidCall: It is none, or the pointer of the whole arguments.
    """
    if not pointer.startswith("/"):
        raise InvalidCall(f"{pointer!r:.80} is no JSON pointer of a field, such as '/amount'")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")]


def build_pointer(parts: tuple[str | int, ...]) -> str:
    """Return the JSON pointer of the parts of a path."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in parts)


def find_value(arguments: dict[str, Any], pointer: str, *, default: Any) -> Any:
    """Return the value of a field; `default` where there is none."""
    parent, name = _find(arguments, pointer)
    return parent[name] if _has(parent, name) else default


def _find(arguments: dict[str, Any], pointer: str) -> tuple[Any, Any]:
    """Return the object or list that holds a field, and the field's name or position in it."""
    *parents, last = parse_pointer(pointer)
    value: Any = arguments
    for part in parents:
        name = _parse_name(value, part)
        if not _has(value, name):
            raise InvalidCall(f"the arguments have no field {pointer!r:.80}")
        value = value[name]
    name = _parse_name(value, last)
    if not isinstance(value, dict | list) or (isinstance(value, list) and name > len(value)):
        raise InvalidCall(f"the arguments have no field {pointer!r:.80}")
    return value, name


def _parse_name(parent: Any, part: str) -> Any:
    if not isinstance(parent, list):
        return part
    if part == "-":
        return len(parent)
    return int(part) if part.isdecimal() else sys.maxsize


def _has(parent: Any, name: Any) -> bool:
    if isinstance(parent, list):
        return bool(name < len(parent))
    return isinstance(parent, dict) and name in parent
