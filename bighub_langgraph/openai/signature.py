"""A function's parameters as a pydantic model, which checks and coerces arguments."""

import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from types import NoneType
from typing import Annotated, Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, TypeAdapter, create_model
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticSchemaGenerationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import to_json

from bighub_langgraph.core.errors import InvalidCall
from bighub_langgraph.core.jsonable import to_jsonable
from bighub_langgraph.openai.docstrings import described
from bighub_langgraph.openai.errors import AdapterConfigurationError
from bighub_langgraph.openai.typed_dicts import readable

__all__ = ["Signature", "read_signature"]

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL)


@dataclass(frozen=True)
class Signature:
    """What a function takes, of which the model is asked for `asked`.

    Attributes:
        model: Checks and coerces arguments; its fields are numbered, their aliases are the names.
        asked: The parameters that the model is asked for.
        left_out: Parameters with a default that no JSON can fill, and why.
        schema: The JSON Schema of the arguments, not yet in strict form.
    """

    tool: str
    model: type[BaseModel]
    asked: Mapping[str, inspect.Parameter]
    left_out: Mapping[str, str]
    schema: dict[str, Any]

    def check(self, arguments: dict[str, Any]) -> tuple[dict[str, Any], BaseModel | None]:
        """Coerce arguments and fill in defaults; raises a `ValidationError`.

        Gives them as plain JSON, and what another check would make of that, where it is known; the
        dictionary is its own from here on. A validator that changes what it already changed is an
        `InvalidCall`: `bind` checks once more, and the tool would get something else than a person
        was shown.
        """
        given = _in_json(arguments)
        checked = self.model.model_validate_json(given)
        if checked.model_dump_json(**_AS_GIVEN).encode() == given:
            # What a check leaves as it is another check leaves as it is, too.
            return (arguments if _is_plain(arguments, given) else to_jsonable(arguments)), checked
        said = _dumped(checked)
        if unstable := list(self._unstable(checked, said)):
            raise InvalidCall(
                f"the arguments of {self.tool!r} cannot be used: checking {', '.join(unstable)} "
                "twice gives another value than checking once; its validator must leave alone "
                "what it returned"
            )
        return said, None

    def _unstable(self, checked: BaseModel, said: dict[str, Any]) -> Iterator[str]:
        """Name the parameters that another check changes."""
        again = self._checked(said)
        repeated = _dumped(again)
        for field, name in self._fields:
            # Equal sets may be listed in different orders, so that either equality will do.
            differs = repeated.get(name) != said.get(name)
            if differs and getattr(again, field) != getattr(checked, field):
                yield name

    def bind(self, arguments: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Give the positional and the named Python values to call the function with."""
        return self.bound(self._checked(arguments))

    def bound(self, checked: BaseModel) -> tuple[list[Any], dict[str, Any]]:
        """The same of arguments that were checked; good for one call, which may change them."""
        given, values = checked.model_fields_set, checked.__dict__
        named = {name: values[field] for field, name in self._fields if field in given}
        if more := checked.model_extra:
            named.update(more)
        return (list(_positional(self.asked, named)) if self._by_position else []), named

    @cached_property
    def defaults(self) -> Mapping[str, Any]:
        """The defaults that JSON can say, by parameter."""
        said = self.schema.get("properties", {})
        return {name: item["default"] for name, item in said.items() if "default" in item}

    @cached_property
    def _fields(self) -> Sequence[tuple[str, str]]:
        """The model's fields, each with the name of its parameter."""
        return list(zip(self.model.model_fields, self.asked, strict=True))

    @cached_property
    def _by_position(self) -> bool:
        return any(one.kind in _POSITIONAL for one in self.asked.values())

    def _checked(self, arguments: Mapping[str, Any]) -> BaseModel:
        # By way of JSON: pydantic reads dates, tuples, bytes and the like from JSON in every mode.
        return self.model.model_validate_json(_in_json(arguments))


def _in_json(arguments: Mapping[str, Any]) -> bytes:
    """Write arguments as pydantic writes JSON; refuse what is none."""
    if _is_flat(arguments):
        return to_json(arguments)
    # It may hold what pydantic would write, and Python's encoder rightly refuses.
    return _COMPACT.encode(arguments).encode()


def _is_flat(arguments: Mapping[str, Any]) -> bool:
    return _WORDS.issuperset(map(type, arguments.values()))


def _is_plain(arguments: Mapping[str, Any], said: bytes) -> bool:
    """Whether arguments that came through a check and back are plain JSON, by how JSON says them.

    Then nothing in them nests, is half a surrogate, or is a number too long to be written.
    """
    short = said.isascii() and len(said) < _LONGEST_NUMBER
    return short and _is_flat(arguments) and _NAMES.issuperset(map(type, arguments))


def _dumped(checked: BaseModel) -> dict[str, Any]:
    return checked.model_dump(mode="json", **_AS_GIVEN)


_AS_GIVEN: dict[str, Any] = {"by_alias": True, "round_trip": True, "exclude_unset": True}
_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_WORDS = frozenset({str, int, float, bool, NoneType})
_NAMES = frozenset({str})
_LONGEST_NUMBER = 4_000


def read_signature(fn: Callable[..., Any], tool: str) -> Signature:
    """Read what a function takes; what no model can fill in is refused by name."""
    parameters = _parameters(fn, tool)
    hints, texts = _hints(fn, tool), described(fn)[1]
    asked, left_out, fields = dict[str, inspect.Parameter](), dict[str, str](), dict[str, Any]()
    for name, parameter in parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            continue
        hint = readable(hints.get(name, Any))
        if fault := _unsayable(hint):
            _refuse_required(parameter, tool, fault)
            left_out[name] = fault
            continue
        fields[f"p{len(fields)}"] = _field(parameter, hint, texts.get(name))
        asked[name] = parameter
    model = create_model(tool, __config__=_config(parameters), **fields)
    return Signature(
        tool, model, asked, left_out, model.model_json_schema(schema_generator=_Plainly)
    )


class _Plainly(GenerateJsonSchema):
    """Titles repeat the names and cost tokens in every request."""

    def field_title_should_be_set(self, _: Any) -> bool:
        return False

    def emit_warning(self, kind: Any, detail: str) -> None:
        """Say nothing of a default deep inside that JSON cannot show: it is not shown."""

    def generate(self, schema: Any, mode: Any = "validation") -> JsonSchemaValue:
        said = super().generate(schema, mode)
        for part in (said, *said.get("$defs", {}).values()):
            if isinstance(part.get("title"), str):
                del part["title"]
        return said


def _parameters(fn: Callable[..., Any], tool: str) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(fn).parameters
    except (TypeError, ValueError) as error:
        raise AdapterConfigurationError(
            f"tool {tool!r}: {fn!r} has no readable signature; wrap it in a function with "
            "annotations, or pass parameters_schema="
        ) from error


def _hints(fn: Callable[..., Any], tool: str) -> dict[str, Any]:
    while isinstance(fn, partial):
        fn = fn.func
    target = fn if inspect.isroutine(fn) or inspect.isclass(fn) else type(fn).__call__
    target = target.__init__ if inspect.isclass(target) else inspect.unwrap(target)
    try:
        return get_type_hints(target, include_extras=True)
    except NameError as error:
        raise AdapterConfigurationError(
            f"tool {tool!r}: {error}; an annotation names what is only there for the type checker "
            "or inside another function. Import it at run time, or pass parameters_schema="
        ) from error


def _unsayable(hint: Any) -> str:
    try:
        TypeAdapter(hint).json_schema(schema_generator=_Plainly)
    except (PydanticSchemaGenerationError, PydanticInvalidForJsonSchema, PydanticUserError):
        return f"no JSON fills a {getattr(hint, '__name__', hint)}"
    return ""


def _refuse_required(parameter: inspect.Parameter, tool: str, fault: str) -> None:
    if parameter.default is inspect.Parameter.empty:
        raise AdapterConfigurationError(
            f"tool {tool!r}: the model cannot be asked for parameter {parameter.name!r}, {fault}; "
            "annotate it with something JSON can say, give it a default, or pass parameters_schema="
        )


def _field(parameter: inspect.Parameter, hint: Any, text: str | None) -> tuple[Any, Any]:
    if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
        hint = list[hint]
    if text:  # an annotated Field's own description, further left, goes before the docstring's
        hint = Annotated[hint, Field(description=text)] if not _speaks(hint) else hint
    if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
        return hint, Field(alias=parameter.name, default_factory=list)
    if parameter.default is inspect.Parameter.empty:
        return hint, Field(alias=parameter.name)
    # A factory keeps the default itself out of pydantic's hands, which may neither know nor copy
    # it.
    said = _default_in_json(hint, parameter.default)
    default = parameter.default
    return hint, Field(
        alias=parameter.name, default_factory=lambda: default, json_schema_extra=said
    )


def _speaks(hint: Any) -> bool:
    marks = getattr(hint, "__metadata__", ())
    return any(getattr(mark, "description", None) for mark in marks)


def _default_in_json(hint: Any, default: Any) -> dict[str, Any]:
    adapter = TypeAdapter[Any](hint)
    try:
        said = adapter.dump_python(default, mode="json", warnings="error")
        return {"default": said} if adapter.validate_json(json.dumps(said)) == default else {}
    except Exception:  # noqa: BLE001 - a default is any object at all
        return {}


def _config(parameters: Mapping[str, inspect.Parameter]) -> ConfigDict:
    kinds = {parameter.kind for parameter in parameters.values()}
    return ConfigDict(extra="allow" if inspect.Parameter.VAR_KEYWORD in kinds else "forbid")


def _positional(
    parameters: Mapping[str, inspect.Parameter], named: dict[str, Any]
) -> Iterator[Any]:
    """Take those values out of `named` that must be passed by position."""
    kinds = {parameter.kind for parameter in parameters.values()}
    spread = inspect.Parameter.VAR_POSITIONAL in kinds
    for name, parameter in parameters.items():
        if name not in named or parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            continue
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            yield from named.pop(name)
        elif spread or parameter.kind in _POSITIONAL:
            yield named.pop(name)
