"""JSON written by an encoder that is set up once is the JSON of the standard library."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bighub_langgraph.core.call import ToolCall
from bighub_langgraph.core.errors import InvalidCall
from bighub_langgraph.core.writing import writer

WAYS: list[dict[str, Any]] = [
    {"sort_keys": True, "separators": (",", ":"), "allow_nan": False},
    {"ensure_ascii": False},
    {},
]
WORDS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    WORDS | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(JSON, st.sampled_from(WAYS))
def test_it_writes_what_the_standard_encoder_writes(value: Any, way: dict[str, Any]) -> None:
    assert writer(**way)(value) == json.JSONEncoder(**way).encode(value)


def test_it_goes_on_after_something_that_is_not_json() -> None:
    write, bad = writer(allow_nan=False), {"ok": [1, object()]}
    for _ in range(2):
        with pytest.raises(TypeError, match="not JSON serializable"):
            write(bad)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write([float("nan")])
    assert write({"ok": [1]}) == '{"ok": [1]}'


def test_arguments_that_hold_themselves_have_no_key() -> None:
    arguments: dict[str, Any] = {}
    arguments["self"] = arguments
    with pytest.raises(InvalidCall, match="not plain JSON"):
        _ = ToolCall("thread", "turn", "call", "tool", arguments).key
