"""The form in which a person edits a call's arguments, made from the tool's JSON schema."""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bighub_langgraph.core.argument_patch import ArgumentPatch, build_pointer

Kind = Literal["text", "long", "number", "choice", "json"]
# What an empty field means: an empty text, an argument that is not given, null, or a mistake.
Empty = Literal["text", "absent", "null", "invalid"]
LONG_TEXT = 60
PREFIX = "argument:"
_MISSING = object()
_LIMITS = {"minimum": "min", "maximum": "max", "maxLength": "maxlength"}
_HTML_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][-+]?\d+)?", re.ASCII)


class InvalidField(ValueError):
    """What a person typed into a field is no value of its kind."""


@dataclass(frozen=True, slots=True)
class EditField:
    """One argument as a field of the form.

    Attributes:
        text: What the field shows at first: the value's text.
        empty: What it means that the field is empty.
        default: As JSON, the value that the tool takes where the argument is not given.
        limits: HTML attributes that the browser checks.
        is_locked: The value is redacted, and stays as it is unless something is typed.
    """

    name: str
    kind: Kind
    text: str
    value: Any
    empty: Empty
    default: str = ""
    description: str = ""
    is_required: bool = False
    is_locked: bool = False
    options: tuple[str, ...] = ()
    limits: Mapping[str, Any] = field(default_factory=dict)

    @property
    def form_name(self) -> str:
        """The field's name in the form, without what HTML cannot have."""
        name = self.name
        return PREFIX + (name if name.isprintable() else name.encode("unicode_escape").decode())

    def input_type(self, text: str) -> str:
        """The type of the field's `<input>`; one for numbers would lose any other text."""
        is_number = self.kind == "number" and (not text or _HTML_NUMBER.fullmatch(text))
        return "number" if is_number else "text"

    def parse(self, text: str) -> Any:
        """Return the value of a text that was typed.

        Raises:
            InvalidField: It is none of the field's kind.
        """
        if text == "" and self.empty == "null":
            return None
        if self.kind in {"text", "long"}:
            return text
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidField(f"{self.name}: this is not {self._noun}") from error
        if self.kind == "number" and type(value) not in {int, float}:
            raise InvalidField(f"{self.name}: this is not {self._noun}")
        return value

    @property
    def _noun(self) -> str:
        return "a number" if self.kind == "number" else "JSON"


def build_fields(
    schema: Mapping[str, Any], arguments: Mapping[str, Any], locked_pointers: Collection[str]
) -> list[EditField]:
    """Build a field for each argument that the call has or the tool takes."""
    properties = schema.get("properties", {})
    required_names = schema.get("required", ())
    return [
        _build_field(
            name,
            _resolve_schema(properties.get(name, {}), schema),
            arguments.get(name, _MISSING),
            is_known=name in properties,
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
        text = form.get(item.form_name)
        if text is None or _comparable(text) == _comparable(item.text):
            continue
        pointer = build_pointer((item.name,))
        if text == "" and item.empty == "invalid":
            raise InvalidField(f"{item.name}: a value is needed")
        if text == "" and item.empty == "absent":
            removals.append(pointer)
        else:
            value = item.parse(text.replace("\r\n", "\n"))
            values |= dict(_find_changes((item.name,), item.value, value))
    return ArgumentPatch(values, tuple(removals))


def _build_field(
    name: str,
    schema: Mapping[str, Any],
    value: Any,
    *,
    is_known: bool,
    is_required: bool,
    is_locked: bool,
) -> EditField:
    kind = _kind_of(schema, value)
    is_text = kind in {"text", "long"}
    empty: Empty = "text" if is_text else "invalid"
    if not is_required and (is_known or not is_text):
        empty = "absent"
    elif is_known and _allows_null(schema):
        empty = "null"
    text = "" if is_locked else _text_of(kind, value)
    options: tuple[str, ...] = ()
    if kind == "choice":
        choices = [json.dumps(item) for item in schema.get("enum", (True, False))]
        options = tuple(dict.fromkeys([*choices, *filter(None, [text])]))
    limits = {html: schema[name] for name, html in _LIMITS.items() if name in schema}
    if kind == "number":
        limits["step"] = 1 if schema.get("type") == "integer" else "any"
    else:
        limits = {html: limit for html, limit in limits.items() if html == "maxlength"}
    default = schema.get("default")
    return EditField(
        name,
        kind,
        text,
        value,
        empty,
        default="" if default is None else json.dumps(default, ensure_ascii=False),
        description=str(schema.get("description", "")),
        is_required=is_required and empty != "null" and not is_locked,
        is_locked=is_locked,
        options=options,
        limits=limits,
    )


def _kind_of(schema: Mapping[str, Any], value: Any) -> Kind:
    kinds = schema.get("type", ())
    types = {kinds} if isinstance(kinds, str) else {*kinds} - {"null"}
    is_empty = value is _MISSING or value is None
    if "enum" in schema or types == {"boolean"}:
        return "choice"
    if types and types <= {"number", "integer"}:
        return "number"
    if types == {"string"} and (is_empty or isinstance(value, str)):
        return "long" if _is_long(value) else "text"
    if isinstance(value, str) and (not types or "string" in types):
        return "long" if _is_long(value) else "text"
    return "json"


def _is_long(value: Any) -> bool:
    return isinstance(value, str) and (len(value) > LONG_TEXT or not value.isprintable())


def _text_of(kind: Kind, value: Any) -> str:
    """Return what a field shows of a value. In JSON, what UTF-8 cannot encode is escaped."""
    if value is _MISSING or (value is None and kind != "json"):
        return ""
    if kind == "choice":
        return json.dumps(value)
    if kind != "json" and isinstance(value, str):
        return value
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace").decode()


def _allows_null(schema: Any) -> bool:
    if not isinstance(schema, Mapping):
        return False
    kinds = schema.get("type", ())
    return "null" in ([kinds] if isinstance(kinds, str) else kinds) or any(
        map(_allows_null, schema.get("anyOf", ()))
    )


def _resolve_schema(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
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


def _find_changes(path: tuple[str | int, ...], old: Any, new: Any) -> Iterator[tuple[str, Any]]:
    """Yield the smallest changes, so that redacted fields beside them keep their values."""
    if isinstance(old, dict) and isinstance(new, dict) and old.keys() == new.keys():
        for name in new:
            yield from _find_changes((*path, name), old[name], new[name])
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, pair in enumerate(zip(old, new, strict=True)):
            yield from _find_changes((*path, index), *pair)
    elif type(old) is not type(new) or old != new:
        yield build_pointer(path), new


def _comparable(text: str) -> str:
    """Return a text without what a browser changes in a field."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(
        char for char in text if char not in "\0\ufffd" and not "\ud800" <= char <= "\udfff"
    )
