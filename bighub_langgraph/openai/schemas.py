"""What a tool takes: the schema that the model sees, and the check of what the model then sends."""

import inspect
import json
import warnings
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from bighub_langgraph.core.errors import InvalidCall
from bighub_langgraph.core.jsonable import truncate
from bighub_langgraph.openai.errors import AdapterConfigurationError
from bighub_langgraph.openai.json_schema import unknown_keywords, violations
from bighub_langgraph.openai.strict import (
    NotSayable,
    strict_fault,
    strictly,
    unsayable,
    without_filler_nulls,
)

if TYPE_CHECKING:
    from bighub_langgraph.openai.signature import Signature

__all__ = [
    "Bound",
    "Checked",
    "Parameters",
    "SchemaWarning",
    "from_schema",
    "from_signature",
    "read_arguments",
]

Json = dict[str, Any]
_MOST_FAULTS = 5
_DEEPEST = 100
_LONGEST_FAULT = 1_000


class SchemaWarning(UserWarning):
    """A tool's parameters cannot be said in OpenAI's strict form."""


# What a function is called with: by position, and by name.
Bound = tuple[list[Any], Json]


class Checked(NamedTuple):
    """Arguments that fit.

    Attributes:
        arguments: Complete, in plain JSON.
        bind: What the function is to be called with, for one call: they are the function's own.
    """

    arguments: Json
    bind: Callable[[], Bound]


@dataclass(frozen=True, slots=True)
class Parameters:
    """A tool's parameters.

    Attributes:
        schema: What the model is shown.
        strict: Whether the service is to hold the model to it.
        read: Coerces arguments and fills in defaults; `InvalidCall` tells what to mend.
        bind: Turns checked arguments into what the function is called with.
    """

    schema: Json
    strict: bool
    read: Callable[[Mapping[str, Any]], Checked]
    bind: Callable[[Mapping[str, Any]], Bound]

    def check(self, arguments: Mapping[str, Any]) -> Json:
        """The arguments as they are to be recorded and shown."""
        return self.read(arguments).arguments


def from_signature(fn: Callable[..., Any], tool: str, *, strict: bool = True) -> Parameters:
    """Take the parameters from a function's real signature."""
    # With it comes pydantic, a third of what this package takes to load: only for who needs it.
    from bighub_langgraph.openai.signature import read_signature

    signature = read_signature(fn, tool)
    for name, fault in signature.left_out.items():
        _warn(tool, f"parameter {name!r} keeps its default: {fault}")
    schema = _strict_or_none(signature) if strict else None
    return Parameters(
        signature.schema if schema is None else schema,
        schema is not None,
        partial(_checked, signature),
        signature.bind,
    )


def from_schema(
    schema: Json, fn: Callable[..., Any], tool: str, *, strict: bool = True
) -> Parameters:
    """Take a schema written by hand as it is; the function gets what the model sent."""
    _refuse_unusable(schema, fn, tool)
    fault = strict_fault(schema) if strict else None
    if fault:
        _warn(tool, f"strict mode refuses {fault}; sent with strict: false")
    return Parameters(
        schema,
        strict and not fault,
        lambda arguments: _fitting(schema, arguments, fn, tool),
        _as_sent,
    )


def read_arguments(raw: Any, tool: str) -> Json:
    """Read the arguments of a call from what the service sent: JSON text, or a mapping already."""
    try:
        arguments = _decoded(raw or "{}") if isinstance(raw, str) else raw
    except (ValueError, RecursionError) as error:
        raise InvalidCall(
            f"the arguments of {tool!r} are not JSON ({error}); send the whole call again"
        ) from error
    if arguments is None:
        return {}
    if not isinstance(arguments, dict):
        raise InvalidCall(
            f"the arguments of {tool!r} must be a JSON object, not {type(arguments).__name__}"
        )
    _refuse_deep(arguments, tool)
    return arguments


def _refuse_deep(arguments: Json, tool: str) -> None:
    """Refuse what is nested so deeply that it could be neither copied nor stored."""
    level: list[Any] = [part for part in arguments.values() if type(part) in _NESTING]
    if not level:
        return
    for _ in range(_DEEPEST - 1):
        level = [part for one in level for part in _parts(one) if type(part) in _NESTING]
        if not level:
            return
    raise InvalidCall(f"the arguments of {tool!r} are nested deeper than {_DEEPEST} levels")


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _strict_or_none(signature: "Signature") -> Json | None:
    try:
        return strictly(signature.schema)
    except NotSayable:
        _warn(
            signature.tool,
            f"strict mode cannot say {unsayable(signature.schema)}; sent with strict: false",
        )
        return None


def _as_sent(arguments: Mapping[str, Any]) -> Bound:
    return [], deepcopy(dict(arguments))


def _checked(signature: "Signature", arguments: Mapping[str, Any]) -> Checked:
    try:
        said, values = signature.check(_completed(signature, arguments))
        if values is None:
            return Checked(said, partial(signature.bind, said))
        return Checked(said, partial(signature.bound, values))
    except InvalidCall:
        raise
    except Exception as error:  # noqa: BLE001 - a validator of the user's own may raise anything
        _refuse(signature.tool, _faults(error), error)


def _completed(signature: "Signature", arguments: Mapping[str, Any]) -> Json:
    given = dict(arguments)
    if _holds_null(given):
        given = without_filler_nulls(given, signature.schema, signature.schema)
    return {**signature.defaults, **given} if signature.defaults else given


def _holds_null(value: Any) -> bool:
    for part in value.values() if type(value) is dict else value:
        if part is None or (type(part) in _NESTING and _holds_null(part)):
            return True
    return False


_NESTING = frozenset({dict, list})


def _faults(error: Exception) -> list[str]:
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        return [_told(fault) for fault in error.errors(include_url=False)]
    return [_said(error)]


def _said(error: Exception) -> str:
    try:
        return truncate(f"{type(error).__name__}: {error}", _LONGEST_FAULT)
    except Exception:  # noqa: BLE001 - the text of an exception is the user's code too
        return type(error).__name__


def _fitting(
    schema: Json, arguments: Mapping[str, Any], fn: Callable[..., Any], tool: str
) -> Checked:
    try:
        faults = list(violations(dict(arguments), schema)) or [_unbindable(fn, arguments)]
    except (ArithmeticError, RecursionError) as error:  # numbers and depths beyond Python's own
        faults = [_said(error)]
    if any(faults):
        _refuse(tool, faults, None)
    fitting = dict(arguments)
    return Checked(fitting, partial(_as_sent, fitting))


def _refuse(tool: str, faults: list[str], cause: Exception | None) -> NoReturn:
    told = "; ".join(faults[:_MOST_FAULTS])
    more = f"; and {len(faults) - _MOST_FAULTS} more" if len(faults) > _MOST_FAULTS else ""
    raise InvalidCall(f"the arguments of {tool!r} do not fit: {told}{more}") from cause


def _told(fault: Any) -> str:
    place = ".".join(str(step) for step in fault["loc"] if not str(step).startswith("function-"))
    return f"{place or 'the arguments'}: {fault['msg']}"


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


_STRICT = json.JSONDecoder(parse_constant=_refuse_constant)


def _decoded(text: str) -> Any:
    # What `decode` does, without its regular expressions for the space around a value.
    text = text.strip(" \t\n\r")
    value, end = _STRICT.raw_decode(text)
    return value if end == len(text) else _STRICT.decode(text)


def _refuse_unusable(schema: Any, fn: Callable[..., Any], tool: str) -> None:
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise AdapterConfigurationError(
            f"tool {tool!r}: parameters_schema must be a JSON Schema with type 'object'"
        )
    if unknown := unknown_keywords(schema):
        raise AdapterConfigurationError(
            f"tool {tool!r}: parameters_schema uses {', '.join(sorted(unknown))}, "
            "which is not checked here; leave it out, or check it in the tool"
        )
    _refuse_unbindable(schema, fn, tool)


def _refuse_unbindable(schema: Json, fn: Callable[..., Any], tool: str) -> None:
    if fault := _unbindable(fn, schema.get("properties", {})):
        raise AdapterConfigurationError(
            f"tool {tool!r}: parameters_schema and the function do not go together: {fault}"
        )


def _unbindable(fn: Callable[..., Any], names: Iterable[str]) -> str:
    """Say why a function cannot be called with arguments of these names, if it cannot."""
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):  # a built-in function that does not tell
        return ""
    try:
        signature.bind(**dict.fromkeys(names))
    except TypeError as error:
        return str(error)
    return ""


def _warn(tool: str, text: str) -> None:
    """Warn at the line of the user's code that registers the tool."""
    level, frame = 1, inspect.currentframe()
    while frame and str(frame.f_globals.get("__name__")).startswith("bighub_langgraph."):
        level, frame = level + 1, frame.f_back
    warnings.warn(f"tool {tool!r}: {text}", SchemaWarning, stacklevel=level)
