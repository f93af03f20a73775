"""Take secrets and personal numbers out of what leaves the process: memory, logs, traces, errors.

Redaction never touches what a tool receives or what a record's key is made of.
"""

import re
from collections.abc import Callable, Iterable
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
    """A copy of a plain JSON value without secrets.

    Hidden by the name of their key: passwords, tokens, keys, credentials, card and account
    numbers. Hidden by pattern in any text: card numbers (Luhn), IBANs (mod 97), e-mail addresses,
    bearer and API tokens, private keys, passwords in URLs.
    """
    if isinstance(value, str):
        return redact_text(value)
    if type(value) in _HARMLESS:
        return value
    if isinstance(value, MAPPING):
        return _hidden(value.items())
    if isinstance(value, list | tuple):
        return [redact(one) for one in value]
    if type(value) is int and len(str(abs(value))) in _CARD_LENGTHS:
        return redact_number(value)
    return value


_HARMLESS = frozenset({float, bool, NoneType})


def redact_text(text: str) -> str:
    """A text with the patterns of `redact` hidden."""
    if (length := len(text)) < _SHORTEST:
        return text
    if (_TRACE if length >= _SHORT else _TRACE_IN_SHORT).search(text) is None:
        return text
    for least, cue, pattern, hide in _PATTERNS:
        if length >= least and cue in text:
            text = pattern.sub(hide, text)
    return text


def redact_exception(error: BaseException) -> str:
    """The name of an exception and what it says, with the patterns of `redact` hidden."""
    return redact_text(f"{type(error).__name__}: {exception_text(error)}")


def redact_number(number: int) -> int | str:
    """A whole number, or the mark when it is a card number."""
    return REDACTED if _luhn(str(abs(number))) else number


def _named(key: str) -> tuple[str, bool]:
    """How a key is shown, and whether what stands under it is a secret."""
    return redact_text(key), _names_secret(key)


# The names in calls and replies are the same ones again and again; what is long may be text.
_LONGEST_NAME = 64
_known_name = lru_cache(maxsize=1024)(_named)


def _hidden(members: Iterable[tuple[object, Any]]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for key, value in members:
        text = str(key)
        name, secret = _known_name(text) if len(text) <= _LONGEST_NAME else _named(text)
        if secret and value not in (None, "", False, True):
            shown[name] = REDACTED
        else:
            shown[name] = value if type(value) in _HARMLESS else redact(value)
    return shown


def _names_secret(key: str) -> bool:
    words = [word.lower() for word in _WORD.findall(key)]
    if not SECRET_WORDS.isdisjoint(words):
        return True
    return any(f"{one} {two}" in SECRET_PAIRS for one, two in pairwise(words))


_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[A-Z]+")
_SHORTEST = 6
_CARD_LENGTHS = range(13, 20)


def _luhn(digits: str) -> bool:
    if len(digits) not in _CARD_LENGTHS or len(set(digits)) == 1:
        return False
    doubled = (int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed(digits)))
    return sum(number - 9 if number > 9 else number for number in doubled) % 10 == 0  # noqa: PLR2004 - Luhn


def _card(found: re.Match[str]) -> str:
    return REDACTED if _luhn(re.sub(r"\D", "", found[0])) else found[0]


def _iban(found: re.Match[str]) -> str:
    letters = found[0].replace(" ", "").upper()
    number = "".join(str(int(letter, 36)) for letter in letters[4:] + letters[:4])
    return REDACTED if int(number) % 97 == 1 else found[0]


def _behind(found: re.Match[str]) -> str:
    return f"{found[1]}{REDACTED}"


# In texts of at least so many characters that hold this, there may be something to be found.
_PATTERNS: tuple[tuple[int, str, re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (
        27,
        "-----",
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|\Z)", re.DOTALL),
        REDACTED,
    ),
    (7, "://", re.compile(r"\b(\w[\w+.-]{0,30}://[^\s/:@]*:)[^\s/@]+(?=@)"), _behind),
    (5, "@", re.compile(r"\b[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+"), REDACTED),
    (14, "", re.compile(r"(?i)\b(bearer\s+|basic\s+)[\w.~+/=-]{8,}"), _behind),
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
        _behind,
    ),
    (
        12,
        "",
        re.compile(r"\b[A-Za-z]{2}\d{2}(?: ?[A-Za-z0-9]{4}){2,7}(?: ?[A-Za-z0-9]{1,3})?\b"),
        _iban,
    ),
    (13, "", re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])"), _card),
)

# What every one of the patterns has in it somewhere. Most texts have none of it, and are done.
_TRACE = re.compile(r"[@:=]|\d[ -]?\d|\w{16}|-----|eyJ|(?i:bearer|basic)")
_SHORT = 12
_TRACE_IN_SHORT = re.compile(r"[@:=]")
