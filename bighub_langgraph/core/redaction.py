"""Redact secrets and personal numbers in what leaves the process: memory, logs, traces, errors.

Redaction never changes what a tool receives, or what a record's key is made of. Kept by hand: the
rules are a security promise of ours, and no library has them.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from types import NoneType
from typing import Any

from bighub_langgraph.core.jsonable import MAPPING, exception_text

REDACTED = "[redacted]"

# Whole words of a key, after splitting `camelCase`, `snake_case` and `kebab-case`.
SECRET_WORDS = frozenset(
    (
        *("password", "passwd", "pwd", "passphrase", "secret", "secrets", "token", "tokens"),
        *("apikey", "authorization", "auth", "cookie", "credential", "credentials"),
        *("cvv", "cvc", "pin", "otp", "ssn", "iban", "signature"),
    )
)
SECRET_PAIRS = frozenset({"api key", "access key", "private key", "card number", "account number"})


def redact(value: Any) -> Any:
    """Return a copy of JSON-compatible data without secrets.

    Redacted by the name of their key: passwords, tokens, keys, credentials, card and account
    numbers. Redacted by pattern in any text: card numbers (Luhn), IBANs (mod 97), e-mail addresses,
    bearer and API tokens, private keys, passwords in URLs.
    """
    if isinstance(value, str):
        return redact_text(value)
    if type(value) in _HARMLESS:
        return value
    if isinstance(value, MAPPING):
        return {redact_text(str(key)): _redact_member(key, member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [redact(member) for member in value]
    if type(value) is int and len(str(abs(value))) in _CARD_LENGTHS:
        return redact_number(value)
    return value


_HARMLESS = frozenset({float, bool, NoneType})


def redact_text(text: str) -> str:
    """Return a text with the patterns of `redact` replaced."""
    length = len(text)
    if length < _SHORTEST:
        return text
    if (_TRACE if length >= _SHORT else _TRACE_IN_SHORT).search(text) is None:
        return text
    for min_length, cue, pattern, replacement in _PATTERNS:
        if length >= min_length and cue in text:
            text = pattern.sub(replacement, text)
    return text


def redact_exception(error: BaseException) -> str:
    """Return the class name and text of an exception with the patterns of `redact` replaced."""
    return redact_text(f"{type(error).__name__}: {exception_text(error)}")


def redact_number(number: int) -> int | str:
    """Return an integer, or `REDACTED` where it is a card number."""
    return REDACTED if _is_card_number(str(abs(number))) else number


def _redact_member(key: object, value: Any) -> Any:
    if value not in (None, "", False, True) and _is_secret_name(str(key)):
        return REDACTED
    return value if type(value) in _HARMLESS else redact(value)


def _is_secret_name(key: str) -> bool:
    # A key of any length may come from a user's data; only what looks like a name is kept.
    find = _find_secret_word if len(key) <= _LONGEST_NAME else _find_secret_word.__wrapped__
    return find(key)


_LONGEST_NAME = 64


# The same few names come up in every call; without the cache they cost a third of its redaction.
@lru_cache(maxsize=1024)
def _find_secret_word(key: str) -> bool:
    words = [word.lower() for word in _WORD.findall(key)]
    if not SECRET_WORDS.isdisjoint(words):
        return True
    return any(f"{first} {second}" in SECRET_PAIRS for first, second in pairwise(words))


_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[A-Z]+")
_SHORTEST = 6
_CARD_LENGTHS = range(13, 20)


def _is_card_number(digits: str) -> bool:
    if len(digits) not in _CARD_LENGTHS or len(set(digits)) == 1:
        return False
    doubled = (int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed(digits)))
    return sum(number - 9 if number > 9 else number for number in doubled) % 10 == 0  # noqa: PLR2004 - Luhn


def _redact_card(match: re.Match[str]) -> str:
    return REDACTED if _is_card_number(re.sub(r"\D", "", match[0])) else match[0]


def _redact_iban(match: re.Match[str]) -> str:
    letters = match[0].replace(" ", "").upper()
    number = "".join(str(int(letter, 36)) for letter in letters[4:] + letters[:4])
    return REDACTED if int(number) % 97 == 1 else match[0]


def _keep_prefix(match: re.Match[str]) -> str:
    return f"{match[1]}{REDACTED}"


# Rows apply to texts of at least the given length that contain the given cue.
_PATTERNS: tuple[tuple[int, str, re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (
        27,
        "-----",
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|\Z)", re.DOTALL),
        REDACTED,
    ),
    (7, "://", re.compile(r"\b(\w[\w+.-]{0,30}://[^\s/:@]*:)[^\s/@]+(?=@)"), _keep_prefix),
    (5, "@", re.compile(r"\b[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+"), REDACTED),
    (14, "", re.compile(r"(?i)\b(bearer\s+|basic\s+)[\w.~+/=-]{8,}"), _keep_prefix),
    (
        18,
        "",
        re.compile(
            r"\b(?:sk|pk|rk|bh|gh[opsu]|xox[abprs]|AKIA)[-_]?(?:live|test|proj)?[-_]?\w{16,}\b"
        ),
        REDACTED,
    ),
    (21, "eyJ", re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), REDACTED),
    (
        5,
        "",
        re.compile(
            r"(?i)\b((?:password|passwd|pwd|passphrase|secret|token|api[ _-]?key)\b"
            r"[\"']?\s*[:=]\s*)"
            r"(?:\"[^\"]*\"|'[^']*'|[^\s,;&\"']+)"
        ),
        _keep_prefix,
    ),
    (
        12,
        "",
        re.compile(r"\b[A-Za-z]{2}\d{2}(?: ?[A-Za-z0-9]{4}){2,7}(?: ?[A-Za-z0-9]{1,3})?\b"),
        _redact_iban,
    ),
    (13, "", re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])"), _redact_card),
)

# Every pattern contains one of these. Most texts contain none, and are returned at once.
_TRACE = re.compile(r"[@:=]|\d[ -]?\d|\w{16}|-----|eyJ|(?i:bearer|basic)")
_SHORT = 12
_TRACE_IN_SHORT = re.compile(r"[@:=]")
