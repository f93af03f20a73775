"""Strict checks at the edge: what may come in as JSON, and what is said when it may not."""

import json
import math
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import to_json

from bighub_langgraph.local.faults import Refused

_DEEPEST = 24
_MOST_NODES = 20_000
_LONGEST_TEXT = 1_000_000
_MOST_BITS = 1_024
_LARGEST = 1e15
_NUMBERS, _LISTS = (int, float), (list, tuple)
_TOO_LARGE = "too deep or too large"


def plain(text: str) -> str:
    """Refuse text that a database cannot keep."""
    if "\x00" in text:
        raise ValueError("text may not contain NUL characters")
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("text must be valid Unicode, without lone surrogates") from error
    return text


def _plain_json(tree: object) -> object:
    """Check that a tree is JSON that can be stored, without recursion into what is too deep."""
    level: list[Any] = [tree]
    nodes, letters, depth = 1, 0, 0
    while level:
        below: list[Any] = []
        words: list[str] = []
        for node in level:
            if isinstance(node, str):  # what comes most often first
                words.append(node)
            elif isinstance(node, _NUMBERS):
                _finite(node)
            elif isinstance(node, dict):
                words += node
                below += node.values()
            elif isinstance(node, _LISTS):
                below += node
            elif node is not None:
                raise ValueError(f"{type(node).__name__} is not JSON")
            if nodes + len(below) > _MOST_NODES:
                raise ValueError(_TOO_LARGE)
        if depth > _DEEPEST:
            raise ValueError(_TOO_LARGE)
        letters += _letters(words, _LONGEST_TEXT - letters)
        nodes += len(below)
        level, depth = below, depth + 1
    return tree


def _finite(number: float) -> None:
    if isinstance(number, int):
        if number.bit_length() > _MOST_BITS:
            raise ValueError("integers beyond any real quantity are not accepted")
    elif not math.isfinite(number):
        raise ValueError("numbers must be finite")


def _letters(words: list[str], most: int) -> int:
    """How many letters plain words have together; what is no word was a key."""
    try:
        if (letters := sum(map(len, words))) > most:
            raise ValueError(_TOO_LARGE)
        plain("".join(words))
    except TypeError:
        raise ValueError("keys must be text") from None  # pydantic reports ValueErrors
    return letters


Word = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(plain)]
Text = Annotated[str, Field(max_length=20_000), AfterValidator(plain)]
Json = Annotated[dict[str, Any], BeforeValidator(_plain_json)]
Number = Annotated[float, Field(ge=-_LARGEST, le=_LARGEST, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, le=_LARGEST, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=10**12)]


class Body(BaseModel):
    """A request's body; what it does not know it passes over, what it knows must fit."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, allow_inf_nan=False)


Checked = TypeVar("Checked", bound=Body)


def check(shape: type[Checked], body: object) -> Checked:
    """Read a body, or say with 422 which of its fields are wrong."""
    try:
        checked = shape.model_validate(body)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        raise Refused(
            422, [{**fault, "loc": ["body", *fault["loc"]]} for fault in faults]
        ) from error
    return checked


def written(tree: object) -> str:
    """A JSON tree as text, for the store; several times as fast as `json.dumps`."""
    return to_json(tree).decode()


def sent(tree: object) -> bytes:
    """A JSON tree as it goes over the wire."""
    return to_json(tree)


def canonical(tree: object) -> str:
    """The one text of a JSON tree."""
    return _CANONICAL.encode(tree)


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
