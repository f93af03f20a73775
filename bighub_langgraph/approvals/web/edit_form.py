"""The form in which a person edits a call's arguments, made from the tool's JSON schema."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bighub_langgraph.approvals.web.presentation import as_text
from bighub_langgraph.core.argument_patch import ArgumentPatch, build_pointer

Kind = Literal["text", "long", "number", "choice", "json"]
LONG_TEXT = 60
PREFIX = "argument:"
_MISSING = object()
_LIMITS = {"minimum": "min", "maximum": "max", "maxLength": "maxlength"}


class InvalidField(ValueError):
    """What a person typed into a field is no value of its kind."""


@dataclass(frozen=True, slots=True)
class EditField:
    """One argument as a field of the form.

    Attributes:
        text: What the field shows at first: the value's text.
        limits: HTML attributes that the browser checks.
        is_locked: The value is redacted, and stays as it is unless something is typed.
    """

    name: str
    kind: Kind
    text: str
    value: Any
    description: str = ""
    is_required: bool = False
    is_locked: bool = False
    options: tuple[str, ...] = ()
    limits: Mapping[str, Any] = field(default_factory=dict)

    def parse(self, text: str) -> Any:
        """Return the value of a text that was typed.

        Raises:
            InvalidField: It is none of the field's kind.
        """
        if self.kind in {"text", "long"}:
            return text
        try:
            return json.loads(text)
        except ValueError as error:
            kind = "a number" if self.kind == "number" else "JSON"
            raise InvalidField(f"{self.name}: this is not {kind}") from error


def build_fields(
    schema: Mapping[str, Any], arguments: Mapping[str, Any], locked_pointers: Collection[str]
) -> list[EditField]:
    """Build a field for each argument that the call has or the tool takes."""
    properties = schema.get("properties", {})
    required_names = schema.get("required", ())
    return [
        _build_field(
            name,
            _inner(properties.get(name, {}), schema),
            arguments.get(name, _MISSING),
            is_required=name in required_names,
            is_locked=build_pointer((name,)) in locked_pointers,
        )
        for name in dict.fromkeys([*arguments, *properties])
    ]


def read_patch(fields: Collection[EditField], form: Mapping[str, str]) -> ArgumentPatch:
    """Return what a person changed; a field that shows what it showed at first is unchanged.

    Raises:
        InvalidField: A field holds no value of its kind.
    """
    values: dict[str, Any] = {}
    removals: list[str] = []
    for item in fields:
        text = form.get(PREFIX + item.name)
        if text is None or _comparable(text) == _comparable("" if item.is_locked else item.text):
            continue
        pointer = build_pointer((item.name,))
        if text == "" and item.kind not in {"text", "long"}:
            if item.is_required:
                raise InvalidField(f"{item.name}: a value is needed")
            removals.append(pointer)
        else:
            value = item.parse(text.replace("\r\n", "\n"))
            values |= dict(_changes((item.name,), item.value, value))
    return ArgumentPatch(values, tuple(removals))


def _build_field(
    name: str,
    schema: Mapping[str, Any],
    value: Any,
    *,
    is_required: bool,
    is_locked: bool,
) -> EditField:
    text = "" if value is _MISSING else as_text(value)
    kind = _kind_of(schema, value)
    options: tuple[str, ...] = ()
    if kind == "choice":
        text = "" if value is _MISSING else json.dumps(value)
        choices = schema.get("enum", (True, False))
        options = tuple(dict.fromkeys([json.dumps(item) for item in choices] + [text] * bool(text)))
    limits = {html: schema[name] for name, html in _LIMITS.items() if name in schema}
    if kind == "number":
        limits["step"] = 1 if schema.get("type") == "integer" else "any"
    else:
        limits = {html: limit for html, limit in limits.items() if html == "maxlength"}
    return EditField(
        name,
        kind,
        "" if is_locked else text,
        value,
        description=str(schema.get("description", "")),
        is_required=is_required and not is_locked,
        is_locked=is_locked,
        options=options,
        limits=limits,
    )


def _kind_of(schema: Mapping[str, Any], value: Any) -> Kind:
    kind = schema.get("type")
    if isinstance(value, dict | list) or value is None:
        return "json"
    if "enum" in schema or kind == "boolean":
        return "choice"
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind in {"number", "integer"} and (is_number or value is _MISSING):
        return "number"
    if isinstance(value, str) or (kind == "string" and value is _MISSING):
        is_long = isinstance(value, str) and (len(value) > LONG_TEXT or not value.isprintable())
        return "long" if is_long else "text"
    return "json"


def _inner(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema of a value that is not null, with its reference followed."""
    if not isinstance(schema, Mapping):
        return {}
    choices = [item for item in schema.get("anyOf", ()) if item != {"type": "null"}]
    if len(choices) == 1 and isinstance(choices[0], Mapping):
        schema = {**schema, **choices[0]}
    reference = schema.get("$ref", "")
    if reference.startswith("#/$defs/"):
        target = root.get("$defs", {}).get(reference.removeprefix("#/$defs/"), {})
        schema = {**target, **{name: item for name, item in schema.items() if name != "$ref"}}
    return dict(schema)


def _changes(path: tuple[str | int, ...], old: Any, new: Any) -> Iterator[tuple[str, Any]]:
    """Yield the smallest changes, so that redacted fields beside them keep their values."""
    if isinstance(old, dict) and isinstance(new, dict) and old.keys() == new.keys():
        for name in new:
            yield from _changes((*path, name), old[name], new[name])
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, pair in enumerate(zip(old, new, strict=True)):
            yield from _changes((*path, index), *pair)
    elif type(old) is not type(new) or old != new:
        yield build_pointer(path), new


def _comparable(text: str) -> str:
    """Return a text without what a browser changes in a field."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(
        char for char in text if char not in "\0\ufffd" and not "\ud800" <= char <= "\udfff"
    )
