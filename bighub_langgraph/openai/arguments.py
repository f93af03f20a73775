"""Parse, validate and bind the arguments that a model sends for a tool call."""

import inspect
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from bighub_langgraph.core.errors import InvalidCall
from bighub_langgraph.core.jsonable import exception_text, truncate
from bighub_langgraph.openai.strict import remove_filler_nulls

if TYPE_CHECKING:
    from pydantic import BaseModel

Json = dict[str, Any]
# The positional and the named values that a function is called with.
BoundArguments = tuple[list[Any], Json]

_MAX_DEPTH = 100
_MAX_FAULTS = 5
_MAX_FAULT_LENGTH = 1_000
_MAX_VALUE_LENGTH = 60  # in the messages of `jsonschema`, which show the whole value


class ValidatedArguments(NamedTuple):
    """Arguments that fit the tool's parameters.

    Attributes:
        arguments: Complete and JSON-compatible, as they are recorded and shown to people.
        bind: Returns the values for one call of the function, which may change them.
    """

    arguments: Json
    bind: Callable[[], BoundArguments]


def parse_arguments(raw: Any, tool: str) -> Json:
    """Parse the arguments of a call: JSON text as the service sends it, or a mapping.

    Raises:
        InvalidCall: They are not a JSON object, or are nested too deeply to be stored.
    """
    try:
        arguments = _decode(raw or "{}") if isinstance(raw, str) else raw
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
    if _is_deeper(arguments, _MAX_DEPTH):
        raise InvalidCall(f"the arguments of {tool!r} are nested deeper than {_MAX_DEPTH} levels")
    return arguments


@dataclass(frozen=True)
class Parameters(ABC):
    """The parameters of a tool.

    Attributes:
        tool: The tool's name.
        schema: The JSON Schema that the model receives.
        strict: Whether OpenAI holds the model to the schema.
    """

    tool: str
    schema: Json
    strict: bool

    def validate(self, arguments: Mapping[str, Any]) -> ValidatedArguments:
        """Validate and coerce arguments, and fill in defaults.

        Raises:
            InvalidCall: They do not fit. The message tells the model which argument is wrong.
        """
        try:
            return self._validate(dict(arguments))
        except InvalidCall:
            raise
        except Exception as error:  # a validator of the user's own may raise anything
            fault = f"{type(error).__name__}: {exception_text(error)}"
            raise self._invalid_call([fault]) from error

    def check(self, arguments: Mapping[str, Any]) -> Json:
        """Validate arguments and return them as they are recorded and shown."""
        return self.validate(arguments).arguments

    @abstractmethod
    def bind(self, arguments: Mapping[str, Any]) -> BoundArguments:
        """Return the values to call the function with, from recorded arguments."""

    @abstractmethod
    def _validate(self, arguments: Json) -> ValidatedArguments:
        """Validate arguments. An exception of any kind means that they do not fit."""

    def _invalid_call(self, faults: Sequence[str]) -> InvalidCall:
        shown = "; ".join(truncate(fault, _MAX_FAULT_LENGTH) for fault in faults[:_MAX_FAULTS])
        more = f"; and {len(faults) - _MAX_FAULTS} more" if len(faults) > _MAX_FAULTS else ""
        return InvalidCall(f"the arguments of {self.tool!r} do not fit: {shown}{more}")


@dataclass(frozen=True)
class SignatureParameters(Parameters):
    """Parameters that a function declares.

    Attributes:
        model: Validates and coerces arguments. Its fields are numbered; their aliases are the
            names of the parameters.
        parameters: The parameters that the model fills in, by field.
        declared_schema: The schema before its conversion to strict form.
    """

    model: type["BaseModel"]
    parameters: Mapping[str, inspect.Parameter]
    declared_schema: Json

    def bind(self, arguments: Mapping[str, Any]) -> BoundArguments:
        """Validate recorded arguments again and return Python values."""
        return self._bind_values(self._parse(arguments))

    def _validate(self, arguments: Json) -> ValidatedArguments:
        from pydantic import ValidationError

        schema = self.declared_schema
        properties = schema.get("properties", {})
        defaults = {name: item["default"] for name, item in properties.items() if "default" in item}
        arguments = {**defaults, **remove_filler_nulls(arguments, schema, schema)}
        try:
            values = self._parse(arguments)
            recorded = _dump(values)
            if recorded != arguments:
                values = self._validate_recorded(recorded, values)
        except ValidationError as error:
            raise self._invalid_call(list(map(_describe_fault, error.errors()))) from error
        return ValidatedArguments(recorded, partial(self._bind_values, values))

    def _validate_recorded(self, recorded: Json, values: "BaseModel") -> "BaseModel":
        """Validate what `bind` starts from when the call runs in a later step.

        Raises:
            InvalidCall: It gives other values: the tool would get something else than a person
                was shown.
        """
        again = self._parse(recorded)
        dumped = _dump(again)
        changed = [
            parameter.name
            for field, parameter in self.parameters.items()
            # Equal sets may be listed in different orders, so either equality is enough.
            if dumped.get(parameter.name) != recorded.get(parameter.name)
            and getattr(again, field) != getattr(values, field)
        ]
        if changed:
            raise InvalidCall(
                f"the arguments of {self.tool!r} cannot be used: checking {', '.join(changed)} "
                "twice gives another value than checking once; its validator must return "
                "its own result unchanged"
            )
        return again

    def _parse(self, arguments: Mapping[str, Any]) -> "BaseModel":
        # Through JSON: pydantic then reads dates, tuples, bytes and the like in every mode.
        return self.model.model_validate_json(_encode(arguments).encode())

    def _bind_values(self, values: "BaseModel") -> BoundArguments:
        """Split the values that were sent; the function knows its own defaults."""
        named = {
            parameter.name: getattr(values, field)
            for field, parameter in self.parameters.items()
            if field in values.model_fields_set
        }
        named |= values.model_extra or {}
        return list(_take_positional(self.parameters.values(), named)), named


@dataclass(frozen=True)
class SchemaParameters(Parameters):
    """Parameters that a hand-written schema describes. The function gets what the model sent.

    Attributes:
        fn: The function.
        validator: A validator of `jsonschema` for the schema.
    """

    fn: Callable[..., Any]
    validator: Any

    def bind(self, arguments: Mapping[str, Any]) -> BoundArguments:
        """Return a copy of the arguments, by name."""
        return [], deepcopy(dict(arguments))

    def _validate(self, arguments: Json) -> ValidatedArguments:
        faults = [_describe_error(error) for error in self.validator.iter_errors(arguments)]
        faults = faults or [find_binding_fault(self.fn, arguments)]
        if any(faults):
            raise self._invalid_call(faults)
        return ValidatedArguments(arguments, partial(self.bind, arguments))


def find_binding_fault(fn: Callable[..., Any], names: Iterable[str]) -> str:
    """Say why the function cannot be called with arguments of these names, if it cannot."""
    try:
        inspect.signature(fn).bind(**dict.fromkeys(names))
    except TypeError as error:
        return str(error)
    except ValueError:  # a built-in function without a readable signature
        return ""
    return ""


def shorten_message(error: Any) -> str:
    """Return the message of an error of `jsonschema`, with a long value shortened."""
    value = repr(error.instance)
    if len(value) <= _MAX_VALUE_LENGTH:
        return str(error.message)
    return str(error.message).replace(value, f"{value[: _MAX_VALUE_LENGTH - 3]}...")


def _describe_error(error: Any) -> str:
    from jsonschema.exceptions import best_match  # type: ignore[import-untyped]  # has no types

    error = best_match([error])
    alternatives = " or ".join(dict.fromkeys(map(shorten_message, error.context)))
    more = f" ({alternatives})" if alternatives else ""
    return f"{_format_place(error.absolute_path)}: {shorten_message(error)}{more}"


def _describe_fault(fault: Any) -> str:
    steps = (step for step in fault["loc"] if not str(step).startswith("function-"))
    return f"{_format_place(steps)}: {fault['msg']}"


def _format_place(path: Iterable[str | int]) -> str:
    return ".".join(map(str, path)) or "the arguments"


def _dump(values: "BaseModel") -> Json:
    return values.model_dump(mode="json", by_alias=True, round_trip=True, exclude_unset=True)


def _take_positional(parameters: Collection[inspect.Parameter], named: Json) -> Iterator[Any]:
    """Remove from `named` and yield the values that must be passed by position."""
    kinds = {parameter.kind for parameter in parameters}
    for parameter in parameters:
        if parameter.name not in named or parameter.kind is parameter.KEYWORD_ONLY:
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            yield from named.pop(parameter.name)
        elif parameter.kind is parameter.POSITIONAL_ONLY or parameter.VAR_POSITIONAL in kinds:
            yield named.pop(parameter.name)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode
_encode = json.JSONEncoder(ensure_ascii=False).encode


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    parts = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(part, levels - 1) for part in parts)
