"""JSON as it enters, is stored and leaves: bounded types, validation, text and timestamps."""

import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import from_json, to_json

from bighub_langgraph.local.errors import ApiError

_MAX_DEPTH = 24
_MAX_NODES = 20_000
_MAX_CHARACTERS = 1_000_000
_MAX_NUMBER = 2**1024
_MAX_QUANTITY = 1e15
_TOO_LARGE = "too deep or too large"


def _check_json(tree: object) -> object:
    """Return the tree; raise `ValueError` unless it is JSON of bounded size. Never recurses."""
    level: list[Any] = [tree]
    texts: list[str] = []
    nodes, depth = 1, 0
    while level:
        below: list[Any] = []
        for node in level:
            if isinstance(node, str):
                texts.append(node)
            elif isinstance(node, int | float):
                if not -_MAX_NUMBER < node < _MAX_NUMBER:  # nor is NaN in between
                    raise ValueError("numbers must be finite and within any real quantity")
            elif isinstance(node, dict):
                texts += node
                below += node.values()
            elif isinstance(node, list | tuple):
                below += node
            elif node is not None:
                raise ValueError(f"{type(node).__name__} is not JSON")
            if depth > _MAX_DEPTH or nodes + len(below) > _MAX_NODES:
                raise ValueError(_TOO_LARGE)
        nodes += len(below)
        level, depth = below, depth + 1
    _check_texts(texts)
    return tree


def _check_texts(texts: list[str]) -> None:
    try:
        if sum(map(len, texts)) > _MAX_CHARACTERS:
            raise ValueError(_TOO_LARGE)
        text = "".join(texts)
        text.encode()
    except TypeError:
        raise ValueError("keys must be text") from None  # pydantic reports only ValueErrors
    except UnicodeEncodeError:
        raise ValueError("text must be valid Unicode, without lone surrogates") from None
    if "\x00" in text:
        raise ValueError("text may not contain NUL characters")


# A database cannot store NUL; pydantic refuses lone surrogates itself.
_NO_NUL = r"^[^\x00]*$"
ShortText = Annotated[str, Field(min_length=1, max_length=500, pattern=_NO_NUL)]
OptionalText = Annotated[str, Field(max_length=500, pattern=_NO_NUL)]
LongText = Annotated[str, Field(max_length=20_000, pattern=_NO_NUL)]
JsonObject = Annotated[dict[str, Any], BeforeValidator(_check_json)]
Number = Annotated[float, Field(ge=-_MAX_QUANTITY, le=_MAX_QUANTITY, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, le=_MAX_QUANTITY, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=10**12)]


class Body(BaseModel):
    """A request body: unknown fields are ignored, known ones are validated strictly."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, allow_inf_nan=False)


Model = TypeVar("Model", bound=BaseModel)


def validate(model: type[Model], data: object, location: str = "body") -> Model:
    """Parse a body or a query, or raise an `ApiError` 422 with the list of invalid fields."""
    try:
        return model.model_validate(data)
    except ValidationError as error:  # the values are not repeated
        fields = [
            {"type": fault["type"], "loc": [location, *fault["loc"]], "msg": fault["msg"]}
            for fault in error.errors()
        ]
        raise ApiError(422, fields) from error


# -- query parameters: text over HTTP, values in process -------------------------------------------


def _check_printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be printable")
    return text


def parse_timestamp(text: object) -> float:
    """Return the Unix time of an ISO 8601 text, or raise `ValueError`; without a zone it is UTC."""
    try:
        time = datetime.fromisoformat(str(text))
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is not an ISO 8601 timestamp") from error


Limit = Annotated[int, Field(ge=0, le=1_000)]
PositiveLimit = Annotated[int, Field(ge=1, le=1_000)]
Offset = Annotated[int, Field(ge=0, le=10**9)]
Days = Annotated[int, Field(ge=1, le=3_660)]
AgeInHours = Annotated[int, Field(ge=0, le=24 * 3_660)]
WindowInHours = Annotated[int, Field(ge=1, le=24 * 366)]
QueryText = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_check_printable)]
Timestamp = Annotated[
    float,
    BeforeValidator(parse_timestamp),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


class Query(BaseModel):
    """Query parameters; unknown ones are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)


# -- text ------------------------------------------------------------------------------------------


def to_json_text(tree: object) -> str:
    """Return a JSON tree as text for the store."""
    return to_json(tree).decode()


def load_json(value: Any) -> Any:
    """Return the JSON tree that is stored as text, or not as text yet."""
    return from_json(value) if isinstance(value, str) else value


def canonical_json(tree: object) -> str:
    """Return the same text for equal JSON trees."""
    return _CANONICAL.encode(tree)


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


@lru_cache(maxsize=4_096)  # consecutive decisions show the same precedents
def format_timestamp(seconds: float | None) -> str | None:
    """Return a Unix time in ISO 8601, in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
