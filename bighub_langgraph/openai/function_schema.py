"""Make the JSON Schema of a tool's parameters from its function's signature and docstring.

For a schema that the user passes as `parameters_schema=` see `parameters_schema`.
"""

import functools
import inspect
import json
import operator
import types
import warnings
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import partial
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NotRequired,
    Required,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import BaseModel, Field, PydanticUserError, TypeAdapter, create_model
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import PydanticUndefined, SchemaError
from typing_extensions import TypedDict, is_typeddict

from bighub_langgraph.core.jsonable import replace_all_surrogates, replace_surrogates
from bighub_langgraph.openai.arguments import SignatureParameters, has_plain_default, is_field
from bighub_langgraph.openai.errors import AdapterConfigurationError
from bighub_langgraph.openai.strict import StrictSchemaError, to_strict_schema

Json = dict[str, Any]
_Kind = inspect.Parameter


class SchemaWarning(UserWarning):
    """A tool's parameters are not sent to the model as they are declared."""


class Documentation(NamedTuple):
    """What a docstring says about a function and about each of its parameters."""

    description: str
    parameters: Mapping[str, str]


def parameters_from_signature(
    fn: Callable[..., Any], tool: str, *, strict: bool = True
) -> SignatureParameters:
    """Read a tool's parameters from its signature.

    Parameters with a default that no JSON value can fill are left out, with a `SchemaWarning`.
    Without `strict`, or where strict mode cannot express the signature, the schema is not strict.

    Raises:
        AdapterConfigurationError: The model cannot fill in a required parameter.
    """
    hints, descriptions = _read_hints(fn, tool), read_docstring(fn).parameters
    parameters, fields, defaults = dict[str, inspect.Parameter](), dict[str, Any](), Json()
    base: type[BaseModel] = _ClosedModel
    for name, parameter in _read_signature(fn, tool).items():
        hint = _normalize_hint(hints.get(name, Any))
        if is_field(parameter.default):
            hint = Annotated[hint, parameter.default]
        if fault := _find_schema_fault(hint):
            if not has_plain_default(parameter):
                raise AdapterConfigurationError(
                    f"tool {tool!r}: the model cannot fill in parameter {name!r}: {fault}; "
                    "annotate it with a type that JSON can express, give it a default, "
                    "or pass parameters_schema="
                )
            warn_about_schema(tool, f"parameter {name!r} keeps its default: {fault}")
        elif parameter.kind is _Kind.VAR_KEYWORD:
            base = _make_open_model(hint)
        else:
            field = f"p{len(fields)}"
            parameters[field] = parameter
            fields[field], default = _make_field(parameter, hint, descriptions.get(name))
            defaults |= default
    model = create_model(tool, __base__=base, **fields)
    declared_schema = _make_schema(model, defaults)
    schema = declared_schema
    if strict:
        try:
            schema = to_strict_schema(declared_schema)
        except StrictSchemaError as error:
            strict = False
            warn_about_schema(tool, f"strict mode cannot express {error}; sent with strict: false")
    return SignatureParameters(tool, schema, strict, model, parameters, declared_schema, defaults)


def _make_schema(model: type[BaseModel], defaults: Json) -> Json:
    """Return the schema of a model of parameters, with these defaults and no others."""
    schema: Json = replace_all_surrogates(model.model_json_schema(schema_generator=_ToolSchema))
    for name, item in schema.get("properties", {}).items():
        item.pop("default", None)  # it may be missing, or not fit
        if name in defaults:
            item["default"] = defaults[name]
    return schema


def read_docstring(fn: Callable[..., Any]) -> Documentation:
    """Read a docstring in Google, NumPy or Sphinx style.

    The description ends where the first section on parameters, results and the like begins.
    """
    from griffe import Docstring, DocstringSectionKind

    prose = {DocstringSectionKind.text, DocstringSectionKind.admonition}
    docstring = Docstring(replace_surrogates(inspect.getdoc(unwrap_function(fn)) or ""))
    styles = (docstring.parse(style, warnings=False) for style in ("sphinx", "google", "numpy"))
    sections = max(styles, key=lambda style: sum(section.kind not in prose for section in style))
    description, parameters = list[str](), dict[str, str]()
    is_structured = False
    for section in sections:
        is_structured |= section.kind not in prose
        if section.kind is DocstringSectionKind.parameters:
            for item in section.value:
                parameters[item.name.lstrip("*")] = " ".join(item.description.split())
        elif not is_structured:
            is_text = section.kind is DocstringSectionKind.text
            description.append(
                section.value if is_text else f"{section.title}:\n{section.value.contents}"
            )
    return Documentation("\n\n".join(description).strip(), parameters)


def unwrap_function(fn: Any) -> Any:
    """Return the function behind partials and callable objects."""
    while isinstance(fn, partial):
        fn = fn.func
    return fn if inspect.isroutine(fn) or inspect.isclass(fn) else type(fn).__call__


def warn_about_schema(tool: str, text: str) -> None:
    """Emit a `SchemaWarning` at the line of the user's code that registers the tool."""
    level, frame = 1, inspect.currentframe()
    while frame and str(frame.f_globals.get("__name__")).startswith("bighub_langgraph."):
        level, frame = level + 1, frame.f_back
    warnings.warn(f"tool {tool!r}: {text}", SchemaWarning, stacklevel=level)


class _ClosedModel(BaseModel, extra="forbid", allow_inf_nan=False):
    pass


class _UnfitTypeError(ValueError):
    """A type that does not read the JSON that its schema describes."""


class _ToolSchema(GenerateJsonSchema):
    """A schema without titles, which repeat the names and cost tokens in every request.

    It refuses types that would not be called with the values that their schema describes.
    """

    def generator_schema(self, schema: Any) -> JsonSchemaValue:  # noqa: ARG002 - pydantic's
        """Refuse a type whose items are validated only while the tool runs."""
        raise _UnfitTypeError("an iterator is read only once, while the tool runs; use list[...]")

    def model_field_schema(self, schema: Any) -> JsonSchemaValue:
        """Refuse a field that is not read from a name of its own."""
        return super().model_field_schema(_check_alias(schema))

    def dataclass_field_schema(self, schema: Any) -> JsonSchemaValue:
        """See `model_field_schema`."""
        return super().dataclass_field_schema(_check_alias(schema))

    def typed_dict_field_schema(self, schema: Any) -> JsonSchemaValue:
        """See `model_field_schema`."""
        return super().typed_dict_field_schema(_check_alias(schema))

    def field_title_should_be_set(self, _: Any) -> bool:
        return False

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        """Show a default only as it is, not masked or rounded by a serializer."""
        inner_schema, default = self.generate_inner(schema["schema"]), schema.get("default", ...)
        default = default.value if isinstance(default, Enum) else default
        try:
            is_shown = json.loads(json.dumps(default, allow_nan=False)) == default
        except (TypeError, ValueError, RecursionError):
            is_shown = False
        return {**inner_schema, "default": default} if is_shown else inner_schema

    def generate(self, schema: Any, mode: Any = "validation") -> JsonSchemaValue:
        json_schema = super().generate(schema, mode)
        for part in (json_schema, *json_schema.get("$defs", {}).values()):
            if isinstance(part.get("title"), str):
                del part["title"]
        return json_schema


def _read_signature(fn: Callable[..., Any], tool: str) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(fn).parameters
    except (TypeError, ValueError) as error:
        raise AdapterConfigurationError(
            f"tool {tool!r}: {fn!r} has no readable signature; wrap it in a function with "
            "annotations, or pass parameters_schema="
        ) from error


def _read_hints(fn: Callable[..., Any], tool: str) -> dict[str, Any]:
    function = unwrap_function(fn)
    function = function.__init__ if inspect.isclass(function) else inspect.unwrap(function)
    try:
        return get_type_hints(function, include_extras=True)
    except NameError as error:
        raise AdapterConfigurationError(
            f"tool {tool!r}: {error}; an annotation uses a name that exists only for the type "
            "checker or inside another function. Import it at run time, or pass parameters_schema="
        ) from error


def _check_alias(schema: Any) -> Any:
    alias = schema.get("validation_alias", "")
    if isinstance(alias, list) and not any(
        isinstance(path, list) and len(path) == 1 for path in alias
    ):
        raise _UnfitTypeError(f"a field is read from the path {alias}, which no schema shows")
    return schema


def _make_adapter(hint: Any) -> TypeAdapter[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an alias of the parameter has no effect here
        return TypeAdapter(hint)


def _find_schema_fault(hint: Any) -> str:
    try:
        _make_adapter(hint).json_schema(schema_generator=_ToolSchema)
    except _UnfitTypeError as error:
        return str(error)
    except (PydanticInvalidForJsonSchema, PydanticUserError, SchemaError):
        return f"JSON cannot express {getattr(hint, '__name__', hint)}"
    return ""


def _make_field(
    parameter: inspect.Parameter, hint: Any, description: str | None
) -> tuple[tuple[Any, Any], Json]:
    """Return the field of a parameter, and its default by name where JSON can express it."""
    options = Json(alias=parameter.name)
    if parameter.kind is _Kind.VAR_POSITIONAL:
        hint, options = list[hint], {**options, "default_factory": list}
    info = FieldInfo.from_annotation(hint)
    if description and not info.description:  # that of the annotation has precedence
        options["description"] = description
    default = info.default if info.default_factory is None else PydanticUndefined
    if has_plain_default(parameter):
        default = parameter.default
        if info.is_required():  # not any more; the function itself knows the value
            options |= {"default": None, "validate_default": False}
    return (hint, Field(**options)), _find_json_default(parameter.name, hint, default)


def _find_json_default(name: str, hint: Any, default: Any) -> Json:
    if default is PydanticUndefined:
        return {}
    adapter = _make_adapter(hint)
    try:
        json_default = adapter.dump_python(default, mode="json", by_alias=True, warnings="error")
        is_exact = adapter.validate_json(json.dumps(json_default, allow_nan=False)) == default
    except Exception:  # noqa: BLE001 - a default is any object at all
        return {}
    return {name: json_default} if is_exact else {}


def _make_open_model(hint: Any) -> type[BaseModel]:
    class OpenModel(BaseModel, extra="allow", allow_inf_nan=False):
        __pydantic_extra__: dict[str, hint]

    return OpenModel


def _normalize_hint(hint: Any) -> Any:  # noqa: PLR0911 - one for each form of a hint
    """Replace what pydantic does not read by what it reads, also within containers.

    A text or `Doc` in `Annotated` becomes a description, an iterable a list. `typing.TypedDict`
    becomes that of `typing_extensions`, to be deleted together with the support of Python 3.11.
    """
    if is_typeddict(hint) and type(hint).__module__ == "typing":
        return _rebuild_typed_dict(hint)
    origin, parts = get_origin(hint), get_args(hint)
    if not parts or origin is Literal:
        return hint
    if origin is Annotated:
        metadata = hint.__metadata__
        texts = [getattr(item, "documentation", item) for item in metadata]
        descriptions = [Field(description=text) for text in texts if isinstance(text, str)][:1]
        return Annotated[(_normalize_hint(parts[0]), *descriptions, *metadata)]
    normalized_parts = tuple(_normalize_hint(part) for part in parts)
    if normalized_parts == parts and origin is not Iterable:
        return hint
    if isinstance(hint, types.UnionType):
        return functools.reduce(operator.or_, normalized_parts)
    if origin is Iterable or isinstance(hint, types.GenericAlias):
        return (list if origin is Iterable else origin)[normalized_parts]
    return hint.copy_with(normalized_parts)


@functools.cache
def _rebuild_typed_dict(hint: Any) -> Any:
    fields = dict[str, Any]()
    for name, part in get_type_hints(hint, include_extras=True).items():
        requirement = Required if name in hint.__required_keys__ else NotRequired
        fields[name] = requirement[_normalize_hint(part)]
    return TypedDict(hint.__name__, fields)  # type: ignore[operator]  # the functional form
