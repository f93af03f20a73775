"""Check a person's changes of a call's arguments where the original arguments are not known."""

from collections.abc import Iterator, Mapping
from typing import Any

from bighub_langgraph.approvals.cards import ApprovalCard
from bighub_langgraph.core.approval_answers import InvalidApprovalResponse
from bighub_langgraph.core.argument_patch import ArgumentPatch, find_value, parse_pointer
from bighub_langgraph.core.errors import InvalidCall
from bighub_langgraph.core.json_schema import SchemaError, find_schema_errors
from bighub_langgraph.core.jsonable import MAX_DEPTH, SEQUENCE, digest
from bighub_langgraph.core.redaction import REDACTED


def check_edit(
    card: ApprovalCard, edit: Mapping[str, Any], removals: tuple[str, ...]
) -> ArgumentPatch:
    """Return the checked changes of a call. Redacted fields keep their value unless replaced.

    The agent's guard checks them once more, with the original arguments.

    Raises:
        InvalidApprovalResponse: They change nothing, or what they make does not fit the tool.
    """
    for pointer, value in edit.items():
        _check_depth(pointer, value)
    try:
        changes = {
            pointer: value
            for pointer, value in edit.items()
            if not _is_equal(find_value(dict(card.arguments), pointer, default=_MISSING), value)
        }
        for pointer in (*changes, *removals):
            _check_place(card, pointer)
        _check_not_redacted(card, changes, removals)
        replacements = tuple(filter(card.is_locked, changes))
        patch = ArgumentPatch(changes, removals, replacements)
        arguments = patch.apply(card.arguments)
    except InvalidCall as error:
        raise InvalidApprovalResponse(str(error)) from error
    if not (changes or removals):
        raise InvalidApprovalResponse(
            f"the edit changes nothing of {card.tool}; approve it instead"
        )
    if errors := list(_find_errors(card, arguments, changes)):
        raise InvalidApprovalResponse(f"the edit does not fit {card.tool}: {'; '.join(errors)}")
    return patch


_MISSING = object()


def _is_equal(current: object, value: object) -> bool:
    """Whether two values are the same in JSON; in Python 1 equals 1.0 and True.

    Raises:
        InvalidCall: The new value is not JSON.
    """
    value_digest = digest(value, of="an edit")
    return current is not _MISSING and value_digest == digest(current)


def _check_depth(pointer: str, value: object) -> None:
    """Refuse what is nested so deep that it could not be shown, or never ends."""
    pending = [(value, pointer.count("/"))]
    while pending:
        item, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise InvalidApprovalResponse(
                f"{pointer:.80} is nested more than {MAX_DEPTH} levels deep; shorten it"
            )
        if isinstance(item, Mapping):
            pending += [(member, depth + 1) for member in item.values()]
        elif isinstance(item, SEQUENCE):
            pending += [(member, depth + 1) for member in item]


def _check_place(card: ApprovalCard, pointer: str) -> None:
    """Refuse to replace a field as a whole whose redacted parts would be lost."""
    if any(place.startswith(f"{pointer}/") for place in card.locked_pointers):
        raise InvalidApprovalResponse(
            f"{pointer} has parts that are not shown; change the other fields in it one by one"
        )


def _check_not_redacted(
    card: ApprovalCard, changes: Mapping[str, Any], removals: tuple[str, ...]
) -> None:
    """Refuse what stands for a redacted value: it is not the value, and would replace one."""
    arguments = dict(card.arguments)
    shown_values = [find_value(arguments, place, default="") for place in card.locked_pointers]
    shown_texts = {value for value in shown_values if isinstance(value, str) and value}
    for pointer in (*changes, *removals):
        path = tuple(parse_pointer(pointer))
        names = [(path[: end + 1], name) for end, name in enumerate(path)]
        for place, text in [*names, *_find_texts(changes.get(pointer), path)]:
            if REDACTED in text.casefold() or (text in shown_texts and (place, text) not in names):
                raise InvalidApprovalResponse(
                    f"{'.'.join(place)} is hidden; type the new value or leave the field as it is"
                )


def _find_texts(value: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the texts in a value, the names of its members too, each with its place."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for name, member in value.items():
            yield (*path, str(name)), str(name)
            yield from _find_texts(member, (*path, str(name)))
    elif isinstance(value, list | tuple):
        for index, member in enumerate(value):
            yield from _find_texts(member, (*path, str(index)))


def _find_errors(
    card: ApprovalCard, arguments: Mapping[str, Any], changes: Mapping[str, Any]
) -> Iterator[str]:
    """Yield what an edit makes wrong: the guard, which reads "5" as 5, accepted all the rest."""
    original_errors = set(find_schema_errors(card.schema, card.arguments, check_formats=True))
    changed_paths = [tuple(parse_pointer(pointer)) for pointer in changes]

    def is_original(error: SchemaError) -> bool:
        path = tuple(map(str, error.path))
        if any(path[: len(prefix)] == prefix for prefix in changed_paths):
            return False
        value = _find_part(arguments, error.path)
        is_redacted = isinstance(value, str) and REDACTED in value
        if is_redacted or error in original_errors:
            return True
        if _is_equal(_find_part(card.arguments, error.path), value):
            return True
        return any(all(map(is_original, branch)) for branch in error.alternatives)

    def describe(error: SchemaError) -> Iterator[str]:
        if is_original(error):
            return
        # Of a value that may also be null, it is said what it is not besides.
        branches = [branch for branch in error.alternatives if not _is_about_null(branch)]
        if len(branches) != 1:
            yield str(error)
            return
        for item in branches[0]:
            yield from describe(item)

    for error in find_schema_errors(card.schema, arguments, check_formats=True):
        yield from describe(error)


def _is_about_null(errors: tuple[SchemaError, ...]) -> bool:
    return any(error.message.endswith("is not of type 'null'") for error in errors)


def _find_part(value: Any, path: tuple[str | int, ...]) -> Any:
    """Return a part of a value by the names and positions that lead to it, if it has one."""
    try:
        for name in path:
            value = value[name]
    except (KeyError, IndexError, TypeError):
        return _MISSING
    return value
