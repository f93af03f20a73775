"""Secrets do not leave the process; a tool's arguments and a record's key do not change."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bighub_langgraph.core import redaction
from bighub_langgraph.core.redaction import REDACTED, redact


@pytest.mark.parametrize(
    "key",
    ["password", "PASSWORD", "userPassword", "api_key", "apiKey", "X-Api-Key", "access_token",
     "Authorization", "client-secret", "card_number", "cvv", "iban", "privateKey"],
)  # fmt: skip
def test_values_under_secret_names_are_redacted(key: str) -> None:
    assert redact({key: "hunter2"}) == {key: REDACTED}
    assert redact({"deep": [{key: {"any": "thing"}}]}) == {"deep": [{key: REDACTED}]}


@pytest.mark.parametrize(
    "key",
    ["author", "tokenizer", "pinned", "keyboard", "secretary", "order", "compass", "primary_key"],
)
def test_values_under_similar_names_are_not_redacted(key: str) -> None:
    assert redact({key: "Ada"}) == {key: "Ada"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pay with 4111 1111 1111 1111 today", f"pay with {REDACTED} today"),
        ("pay with 4111-1111-1111-1111.", f"pay with {REDACTED}."),
        ("to DE89 3704 0044 0532 0130 00", f"to {REDACTED}"),
        ("to GB82WEST12345698765432", f"to {REDACTED}"),
        ("mail ada@example.org now", f"mail {REDACTED} now"),
        ("Authorization: Bearer abcdef123456", f"Authorization: Bearer {REDACTED}"),
        ("key sk-proj-abcdefghijklmnop1234", f"key {REDACTED}"),
        ("postgresql://me:hunter2@db/x", f"postgresql://me:{REDACTED}@db/x"),
        ('{"password": "hunter2"}', f'{{"password": {REDACTED}}}'),
        ("password=hunter2&x=1", f"password={REDACTED}&x=1"),
    ],
)
def test_patterns_are_redacted_in_any_text(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    "text",
    ["order 4111 1111 1111 1112", "1234567890123", "tracking 00000000000000", "DE00 1234 5678"],
)
def test_numbers_with_a_wrong_checksum_are_not_redacted(text: str) -> None:
    assert redact(text) == text


def test_a_number_of_tokens_is_no_secret() -> None:
    usage = {"max_tokens": 500, "text": "tokens: 500"}
    assert redact(usage) == usage


def test_card_numbers_are_redacted_as_numbers_too() -> None:
    assert redact({"n": 4111111111111111, "m": 4111111111111112}) == {
        "n": REDACTED,
        "m": 4111111111111112,
    }


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_redaction_works_on_any_json_and_is_idempotent(value: Any) -> None:
    assert redact(redact(value)) == redact(value)


@given(st.dictionaries(st.text(min_size=1), JSON))
def test_redaction_never_changes_its_argument(value: dict[str, Any]) -> None:
    before = repr(value)
    redact(value)
    assert repr(value) == before


@given(st.text(alphabet="aA1 4@:=-._/eyJskpwdBearer\"'\n", min_size=6, max_size=60))
def test_a_text_without_any_hint_of_a_secret_contains_none(text: str) -> None:
    expected = text
    for _, _, pattern, replacement in redaction._PATTERNS:
        expected = pattern.sub(replacement, expected)
    assert redaction.redact_text(text) == expected
