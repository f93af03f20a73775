"""Parameters of a tool that come from a function's signature and docstring."""

import functools
import inspect
import json
import operator
import types
import warnings
from collections.abc import Callable, Mapping
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

from pydantic import ConfigDict, Field, PydanticUserError, TypeAdapter, create_model
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticSchemaGenerationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from typing_extensions import TypedDict, is_typeddict

from bighub_langgraph.openai.arguments import SignatureParameters
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
    parameters, fields = dict[str, inspect.Parameter](), dict[str, Any]()
    config = ConfigDict(extra="forbid")
    for name, parameter in _read_signature(fn, tool).items():
        if parameter.kind is _Kind.VAR_KEYWORD:
            config = ConfigDict(extra="allow")
            continue
        hint = _replace_typed_dicts(hints.get(name, Any))
        if fault := _find_schema_fault(hint):
            if parameter.default is _Kind.empty:
                raise AdapterConfigurationError(
                    f"tool {tool!r}: the model cannot fill in parameter {name!r}: {fault}; "
                    "annotate it with a type that JSON can express, give it a default, "
                    "or pass parameters_schema="
                )
            warn_about_schema(tool, f"parameter {name!r} keeps its default: {fault}")
            continue
        field = f"p{len(fields)}"
        parameters[field] = parameter
        fields[field] = _make_field(parameter, hint, descriptions.get(name))
    model = create_model(tool, __config__=config, **fields)
    declared = model.model_json_schema(schema_generator=_UntitledSchema)
    schema = declared
    if strict:
        try:
            schema = to_strict_schema(declared)
        except StrictSchemaError as error:
            strict = False
            warn_about_schema(tool, f"strict mode cannot express {error}; sent with strict: false")
    return SignatureParameters(tool, schema, strict, model, parameters, declared)


def read_docstring(fn: Callable[..., Any]) -> Documentation:
    """Read a docstring in Google, NumPy or Sphinx style.

    The description ends where the first section on parameters, results and the like begins.
    """
    from griffe import Docstring, DocstringSectionKind

    prose = {DocstringSectionKind.text, DocstringSectionKind.admonition}
    docstring = Docstring(inspect.getdoc(unwrap_function(fn)) or "")
    styles = (docstring.parse(style, warnings=False) for style in ("sphinx", "google", "numpy"))
    sections = max(styles, key=lambda parsed: sum(section.kind not in prose for section in parsed))
    description, parameters = list[str](), dict[str, str]()
    structured = False
    for section in sections:
        structured |= section.kind not in prose
        if section.kind is DocstringSectionKind.parameters:
            for item in section.value:
                parameters[item.name.lstrip("*")] = " ".join(item.description.split())
        elif not structured:
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


class _UntitledSchema(GenerateJsonSchema):
    """A schema without titles, which repeat the names and cost tokens in every request."""

    def field_title_should_be_set(self, _: Any) -> bool:
        return False

    def emit_warning(self, kind: Any, detail: str) -> None:
        """Do not warn about a nested default that JSON cannot show: it is not shown."""

    def generate(self, schema: Any, mode: Any = "validation") -> JsonSchemaValue:
        generated = super().generate(schema, mode)
        for part in (generated, *generated.get("$defs", {}).values()):
            if isinstance(part.get("title"), str):
                del part["title"]
        return generated


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


def _find_schema_fault(hint: Any) -> str:
    try:
        TypeAdapter(hint).json_schema(schema_generator=_UntitledSchema)
    except (PydanticSchemaGenerationError, PydanticInvalidForJsonSchema, PydanticUserError):
        return f"JSON cannot express {getattr(hint, '__name__', hint)}"
    return ""


def _make_field(
    parameter: inspect.Parameter, hint: Any, description: str | None
) -> tuple[Any, Any]:
    name, default = parameter.name, parameter.default
    if parameter.kind is _Kind.VAR_POSITIONAL:
        hint = list[hint]
    # A description in the annotation has precedence over the docstring.
    metadata = getattr(hint, "__metadata__", ())
    if description and not any(getattr(item, "description", None) for item in metadata):
        hint = Annotated[hint, Field(description=description)]
    if parameter.kind is _Kind.VAR_POSITIONAL:
        return hint, Field(alias=name, default_factory=list)
    if default is _Kind.empty:
        return hint, Field(alias=name)
    # A factory, because pydantic may be unable to copy the default or to show it as JSON.
    shown = _describe_default(hint, default)
    return hint, Field(alias=name, default_factory=lambda: default, json_schema_extra=shown)


def _describe_default(hint: Any, default: Any) -> Json:
    adapter = TypeAdapter[Any](hint)
    try:
        dumped = adapter.dump_python(default, mode="json", warnings="error")
        is_exact = adapter.validate_json(json.dumps(dumped)) == default
    except Exception:  # noqa: BLE001 - a default is any object at all
        return {}
    return {"default": dumped} if is_exact else {}


# To be deleted together with the support of Python 3.11.
def _replace_typed_dicts(hint: Any) -> Any:
    """Replace `typing.TypedDict`, which pydantic does not read on 3.11, by `typing_extensions`'."""
    if is_typeddict(hint):
        return _rebuild_typed_dict(hint) if type(hint).__module__ == "typing" else hint
    origin, parts = get_origin(hint), get_args(hint)
    if not parts or origin is Literal:
        return hint
    if origin is Annotated:
        return Annotated[(_replace_typed_dicts(parts[0]), *hint.__metadata__)]
    replaced = tuple(_replace_typed_dicts(part) for part in parts)
    if replaced == parts:
        return hint
    if isinstance(hint, types.UnionType):
        return functools.reduce(operator.or_, replaced)
    return origin[replaced] if isinstance(hint, types.GenericAlias) else hint.copy_with(replaced)


@functools.cache
def _rebuild_typed_dict(hint: Any) -> Any:
    fields = dict[str, Any]()
    for name, part in get_type_hints(hint, include_extras=True).items():
        requirement = Required if name in hint.__required_keys__ else NotRequired
        fields[name] = requirement[_replace_typed_dicts(part)]
    return TypedDict(hint.__name__, fields)  # type: ignore[operator]  # the functional form
