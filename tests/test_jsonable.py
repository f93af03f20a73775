"""Every output of a tool becomes JSON-compatible data."""

import dataclasses
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from bighub_langgraph.core.jsonable import to_jsonable, truncate


class Colour(Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    when: date


class Order(BaseModel):
    total: Decimal


@dataclasses.dataclass
class Person:
    name: str
    friends: list["Person"] = dataclasses.field(default_factory=list)


class InfiniteModel:
    def model_dump(self) -> dict[str, Any]:
        return {"left": InfiniteModel(), "right": InfiniteModel()}


class RaisingRepr:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class ClosedModel:
    def model_dump(self) -> dict[str, Any]:
        raise RuntimeError("closed")

    def __repr__(self) -> str:
        return "ClosedModel()"


SELF: list[Any] = []
SELF.append(SELF)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(2026, 11, 1, 12, tzinfo=UTC), "2026-11-01T12:00:00+00:00"),
        (date(2026, 11, 1), "2026-11-01"),
        (timedelta(minutes=2), 120.0),
        (Decimal("1.10"), "1.10"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (PurePosixPath("/a/b"), "/a/b"),
        (Colour.RED, "red"),
        ((1, 2), [1, 2]),
        ({3}, [3]),
        (b"text", "text"),
        (b"\xff\xfe", "<2 bytes>"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        ({1: Colour.RED}, {"1": "red"}),
        (Point(1, date(2026, 1, 2)), {"x": 1, "when": "2026-01-02"}),
        (Order(total=Decimal("9.9")), {"total": "9.9"}),
        (RaisingRepr(), "<RaisingRepr>"),
        (ClosedModel(), "ClosedModel()"),
        (2**80, 2**80),
    ],
)
def test_a_value_becomes_json_compatible(value: object, expected: object) -> None:
    assert to_jsonable(value) == expected
    json.dumps(to_jsonable(value), allow_nan=False)


def test_a_value_that_contains_itself_ends_at_the_repetition() -> None:
    root: dict[str, Any] = {"name": "root"}
    root["children"] = [{"name": name, "parent": root} for name in "abcd"]
    person = Person("Ada")
    person.friends += [Person(name, [person]) for name in ("Bob", "Cem", "Dan", "Eve")]
    assert to_jsonable(SELF) == ["[...]"]
    assert to_jsonable(root) == {
        "name": "root",
        "children": [{"name": name, "parent": "{...}"} for name in "abcd"],
    }
    assert to_jsonable(person)["friends"][3] == {"name": "Eve", "friends": ["{...}"]}


def test_a_value_in_two_places_is_written_in_both() -> None:
    address = {"city": "Ulm"}
    assert to_jsonable([address, {"home": address}]) == [{"city": "Ulm"}, {"home": {"city": "Ulm"}}]


def test_values_that_refer_to_each_other_have_a_limited_size() -> None:
    lists: list[Any] = [[] for _ in range(12)]
    for inner in lists:
        inner.extend(lists)
    doubled: list[Any] = []
    for _ in range(60):
        doubled = [doubled, doubled]
    for value in (lists, doubled, InfiniteModel()):
        assert len(json.dumps(to_jsonable(value))) < 20_000_000


def test_many_rows_are_all_written() -> None:
    rows = [{"row": number} for number in range(150_000)]
    assert to_jsonable(rows) == rows


def test_a_long_text_is_truncated_and_ends_with_its_length() -> None:
    short = truncate("x" * 1000, 100)
    assert len(short) == 100
    assert short.endswith("[... 1000 characters in all]")
    assert truncate("short", 100) == "short"
