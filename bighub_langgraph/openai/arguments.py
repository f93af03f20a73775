"""Parse, validate and bind the arguments that a model sends for a tool call."""

import inspect
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from bighub_langgraph.core.errors import InvalidCall
from bighub_langgraph.core.jsonable import (
    CONTAINERS,
    copy_jsonable,
    exception_text,
    find_non_finite,
    replace_surrogates,
    truncate,
)
from bighub_langgraph.openai.strict import check_finite, normalize

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
        arguments: The JSON that the model sent, with defaults: recorded, and shown to people.
        bind: Returns the values that this JSON stands for, for one call of the function.
    """

    arguments: Json
    bind: Callable[[], BoundArguments]


def parse_arguments(raw: Any, tool: str) -> Json:
    """Parse the arguments of a call: JSON text as the service sends it, or a mapping.

    Half surrogates, which no UTF-8 text can hold, become `?`.

    Raises:
        InvalidCall: They are not a JSON object, or are nested too deeply to be stored.
    """
    try:
        text = replace_surrogates(raw if isinstance(raw, str) else _encode(raw))
        arguments = _decode(text or "{}")
        if "\\u" in text and "\\ud" in text.lower():  # maybe half of a pair, escaped
            arguments = _decode(replace_surrogates(_encode(arguments)))
    except (TypeError, ValueError, RecursionError) as error:
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

    def validate(self, arguments: Json) -> ValidatedArguments:
        """Fill in defaults and validate parsed arguments.

        Raises:
            InvalidCall: They do not fit. The message tells the model which argument is wrong.
        """
        try:
            return self._validate(arguments)
        except InvalidCall:
            raise
        except Exception as error:  # a validator of the user's own may raise anything
            raise self._invalid_call(_describe_failure(error)) from error

    def check(self, arguments: Any) -> Json:
        """Validate a person's or a program's arguments; return them as they are recorded."""
        return self.validate(parse_arguments(arguments, self.tool)).arguments

    @abstractmethod
    def bind(self, arguments: Json) -> BoundArguments:
        """Return the values to call the function with, from recorded arguments."""

    @abstractmethod
    def _validate(self, arguments: Json) -> ValidatedArguments:
        """Validate arguments. An exception of any kind means that they do not fit."""

    def _invalid_call(self, faults: Sequence[str]) -> InvalidCall:
        shown_faults = "; ".join(
            truncate(fault, _MAX_FAULT_LENGTH) for fault in faults[:_MAX_FAULTS]
        )
        more = f"; and {len(faults) - _MAX_FAULTS} more" if len(faults) > _MAX_FAULTS else ""
        return InvalidCall(f"the arguments of {self.tool!r} do not fit: {shown_faults}{more}")


@dataclass(frozen=True)
class SignatureParameters(Parameters):
    """Parameters that a function declares.

    Attributes:
        model: Validates and coerces arguments. Its fields are numbered; their aliases are the
            names of the parameters.
        parameters: The parameters that the model fills in, by field.
        declared_schema: The schema before its conversion to strict form.
        defaults: The defaults that JSON can express, by parameter.
    """

    model: type["BaseModel"]
    parameters: Mapping[str, inspect.Parameter]
    declared_schema: Json
    defaults: Json

    def bind(self, arguments: Json) -> BoundArguments:
        """See `Parameters.bind`."""
        return self._bind_values(self._parse(arguments))

    def _validate(self, arguments: Json) -> ValidatedArguments:
        arguments = normalize(arguments, self.declared_schema, self.declared_schema)
        for name, default in self.defaults.items():
            if name not in arguments:
                arguments[name] = copy_jsonable(default)
        values = self._parse(arguments)
        if places := list(find_non_finite(values)):
            raise self._invalid_call([self._describe_non_finite(place) for place in places])
        return ValidatedArguments(arguments, partial(self._bind_values, values))

    def _describe_non_finite(self, place: Sequence[str]) -> str:
        field, *steps = place
        name = self.parameters[field].name if field in self.parameters else field
        return f"{_format_place([name, *steps])}: a finite number is expected"

    def _parse(self, arguments: Json) -> "BaseModel":
        # From JSON: pydantic then reads dates, tuples, bytes and the like in every mode.
        return self.model.model_validate_json(_encode(arguments))

    def _bind_values(self, values: "BaseModel") -> BoundArguments:
        """Split the values for a call; the function itself knows its plain defaults."""
        named_values = {
            parameter.name: getattr(values, field)
            for field, parameter in self.parameters.items()
            if field in values.model_fields_set or not has_plain_default(parameter)
        }
        named_values |= values.model_extra or {}
        positional: list[Any] = []
        for parameter in self._by_position:
            value = named_values.pop(parameter.name, parameter.default)
            positional += value if parameter.kind is parameter.VAR_POSITIONAL else [value]
        return positional, named_values

    @cached_property
    def _by_position(self) -> list[inspect.Parameter]:
        """The parameters that must be passed by position."""
        parameters = list(self.parameters.values())
        kinds: set[Any] = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL}
        if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
            kinds.add(inspect.Parameter.POSITIONAL_OR_KEYWORD)
        return [parameter for parameter in parameters if parameter.kind in kinds]


@dataclass(frozen=True)
class SchemaParameters(Parameters):
    """Parameters that a hand-written schema describes. The function gets what the model sent.

    Attributes:
        fn: The function.
        validator: A validator of `jsonschema` for the schema.
    """

    fn: Callable[..., Any]
    validator: Any

    def bind(self, arguments: Json) -> BoundArguments:
        """Return a copy of the arguments, by name."""
        return [], copy_jsonable(arguments)

    def _validate(self, arguments: Json) -> ValidatedArguments:
        faults = [_describe_error(error) for error in self.validator.iter_errors(arguments)]
        faults = faults or [find_binding_fault(self.fn, arguments)]
        if any(faults):
            raise self._invalid_call(faults)
        return ValidatedArguments(arguments, partial(self.bind, arguments))


def is_field(default: object) -> bool:
    """Whether the default of a parameter is pydantic's `Field(...)`, which says what it means."""
    from pydantic.fields import FieldInfo

    return isinstance(default, FieldInfo)


def has_plain_default(parameter: inspect.Parameter) -> bool:
    """Whether a function itself knows the default of a parameter."""
    return parameter.default is not parameter.empty and not is_field(parameter.default)


def find_binding_fault(fn: Callable[..., Any], names: Iterable[str]) -> str:
    """Say why the function cannot be called with arguments of these names, if it cannot."""
    try:
        signature = inspect.signature(fn)
        binding = signature.bind(**dict.fromkeys(names))
    except TypeError as error:
        return str(error)
    except ValueError:  # a built-in function without a readable signature
        return ""
    for name in signature.parameters.keys() - binding.arguments.keys():
        # It would get the `FieldInfo` that is its default.
        if is_field(signature.parameters[name].default):
            return f"missing a required argument: {name!r}"
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


def _describe_failure(error: Exception) -> list[str]:
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return [f"{type(error).__name__}: {exception_text(error)}"]
    faults = []
    for fault in error.errors():
        steps = (step for step in fault["loc"] if not str(step).startswith("function-"))
        faults.append(f"{_format_place(steps)}: {fault['msg']}")
    return faults


def _format_place(path: Iterable[str | int]) -> str:
    return ".".join(map(str, path)) or "the arguments"


def _parse_float(text: str) -> float:
    return check_finite(float(text), text)


_decode = json.JSONDecoder(parse_float=_parse_float, parse_constant=_parse_float).decode
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def _is_deeper(container: Json | list[Any], levels: int) -> bool:
    members = container.values() if isinstance(container, dict) else container
    return levels == 0 or any(
        type(member) in CONTAINERS and _is_deeper(member, levels - 1) for member in members
    )
