"""Redact secrets and personal numbers in what leaves the process: memory, logs, traces, errors.

Redaction never changes what a tool receives, or what a record's key is made of.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from types import NoneType
from typing import Any

from bighub_langgraph.core.jsonable import MAPPING, exception_text
from bighub_langgraph.core.secret_formats import SECRET_FORMAT

REDACTED = "[redacted]"

# Whole words of a name, after splitting `camelCase`, `snake_case` and `kebab-case`.
SECRET_WORDS = frozenset(
    (
        *("password", "passwd", "pwd", "pass", "passphrase", "passcode", "secret", "secrets"),
        *("token", "tokens", "jwt", "apikey", "authorization", "auth", "cookie", "sig"),
        *("credential", "credentials", "cvv", "cvc", "pin", "otp", "ssn", "iban", "signature"),
    )
)
SECRET_PAIRS = frozenset(
    (
        *("api key", "access key", "private key", "signing key", "encryption key", "master key"),
        *("account key", "shared key", "card number", "account number", "security code"),
    )
)
# Ends of words that are written in one piece, as in `dbpassword`.
_SECRET_ENDS = (
    *("password", "passwd", "passphrase", "secret", "token"),
    *(pair.replace(" ", "") for pair in sorted(SECRET_PAIRS)),
)
# Before a colon in a sentence, these words announce no secret.
_NO_SECRET_IN_PROSE = frozenset({"authorization", "auth", "signature", "iban"})


def redact(value: Any) -> Any:
    """Return a copy of JSON-compatible data without secrets.

    Redacted by their name, as keys and in text such as `DB_PASSWORD=...`: passwords, tokens, keys,
    credentials, card and account numbers. Redacted by pattern in any text: the API keys of
    `core.secret_formats`, card numbers (Luhn), IBANs (mod 97), e-mail addresses, bearer tokens,
    private keys, passwords in URLs.
    """
    if isinstance(value, str):
        return redact_text(value)
    if type(value) in _HARMLESS:
        return value
    if isinstance(value, MAPPING):
        return {redact_text(str(key)): _redact_member(key, member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact(member) for member in value]
    if type(value) is int and len(str(abs(value))) in _CARD_LENGTHS:
        return REDACTED if _is_card_number(str(abs(value))) else value
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


def _redact_member(key: object, value: Any) -> Any:
    if value not in (None, "", False, True) and _is_secret_name(str(key), value):
        return REDACTED
    if isinstance(value, (list, tuple)):
        return [_redact_member(key, member) for member in value]
    if isinstance(value, (str, int)) and str(value).isdigit() and _mentions_order(str(key)):
        return value
    return value if type(value) in _HARMLESS else redact(value)


def _is_secret_name(name: str, value: object) -> bool:
    # A name of any length may come from a user's data; only what looks like a name is kept.
    find = _find_secret_word if len(name) <= _LONGEST_NAME else _find_secret_word.__wrapped__
    word = find(name)
    # A number of tokens is what a model used.
    return bool(word) and not (word == "tokens" and str(value).isdigit())


_LONGEST_NAME = 64


# The same few names come up in every call; without the cache they cost a third of its redaction.
@lru_cache(maxsize=1024)
def _find_secret_word(name: str) -> str:
    words = [word.lower() for word in _WORD.findall(name)]
    pairs = (f"{first} {second}" for first, second in pairwise(words))
    matches = [word for word in words if word in SECRET_WORDS or word.endswith(_SECRET_ENDS)]
    return next(iter([*matches, *SECRET_PAIRS.intersection(pairs)]), "")


_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[A-Z]+")
_SHORTEST = 6
_CARD_LENGTHS = range(14, 20)
# The numbers that issuers have, with their lengths: one in ten of all others has the check digit.
_CARD = re.compile(
    r"4\d{15}(?:\d{3})?|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"
    r"|220[0-4]\d{12,15}|3[47]\d{13}|3(?:0[0-5]|[68]\d|9\d)\d{11}|35(?:2[89]|[3-8]\d)\d{12}"
    r"|6(?:011|5\d\d|4[4-9]\d)\d{12}|62\d{14,17}"
)


def _is_card_number(digits: str) -> bool:
    if len(digits) not in _CARD_LENGTHS or _CARD.fullmatch(digits) is None:
        return False
    digit_values = (
        int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed(digits))
    )
    return sum(number - 9 if number > 9 else number for number in digit_values) % 10 == 0  # noqa: PLR2004 - Luhn


def _redact_card(match: re.Match[str]) -> str:
    if not _is_card_number(re.sub(r"\D", "", match[0])):
        return match[0]
    before = match.string[max(0, match.start() - _LONGEST_NAME) : match.start()]
    return match[0] if match[0].isdigit() and _mentions_order(before) else REDACTED


def _mentions_order(text: str) -> bool:
    """Whether a name, or a text before a number, says that the number is of an order or the like.

    One in fifty of these would pass for a card number.
    """
    words = [word.lower() for word in _WORD.findall(text)]
    while words and words[-1] in _NUMBER_WORDS:
        words.pop()
    is_about_cards = not _CARD_WORDS.isdisjoint(words)
    return bool(words) and words[-1].removesuffix("s") in _ORDER_WORDS and not is_about_cards


_ORDER_WORDS = frozenset(
    (
        *("order", "invoice", "tracking", "shipment", "parcel", "package", "delivery", "booking"),
        *("reservation", "ticket", "case", "return", "product", "article", "item", "sku"),
    )
)
_NUMBER_WORDS = frozenset({"id", "ids", "no", "nr", "num", "number", "numbers", "ref", "reference"})
_CARD_WORDS = frozenset({"card", "cards", "credit", "debit", "pan", "visa", "mastercard"})


def _redact_iban(match: re.Match[str]) -> str:
    letters = match[0].replace(" ", "").upper()
    number = "".join(str(int(letter, 36)) for letter in letters[4:] + letters[:4])
    return REDACTED if int(number) % 97 == 1 else match[0]


_PREFIX_KEPT = rf"\1{REDACTED}"


def _redact_keys(match: re.Match[str]) -> str:
    return SECRET_FORMAT.sub(REDACTED, match[0])


def _redact_assigned(match: re.Match[str]) -> str:
    name, value = match["name"], match["value"]
    word = _find_secret_word(name)
    is_prose = ":" in match["sign"] and word in _NO_SECRET_IN_PROSE
    is_secret = not is_prose and _is_secret_name(name, value.strip("\"'"))
    return f"{name}{match['sign']}{REDACTED}" if is_secret else match[0]


_VALUE = r"(?P<value>\[redacted\]|\\?\"(?:[^\"\\]|\\[^\"])*\\?\"|'[^']*'|[^\s,;&\"'<>(){}\[\]\\]+)"

# Rows apply to texts of at least the given length that contain the given cue.
_PATTERNS: tuple[tuple[int, str, re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (
        27,
        "-----",
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|\Z)", re.DOTALL),
        REDACTED,
    ),
    (7, "://", re.compile(r"\b(\w[\w+.-]{0,30}://[^\s/:@]*:)[^\s/@]+(?=@)"), _PREFIX_KEPT),
    (5, "@", re.compile(r"\b[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+"), REDACTED),
    (14, "", re.compile(r"(?i)\b(bearer\s+|basic\s+)[\w.~+/=-]{8,}"), _PREFIX_KEPT),
    # Only long pieces can hold a key, and few texts have one.
    (16, "", re.compile(r"[\w~.-][\w.~+/=:-]{15,}"), _redact_keys),
    *(
        (
            6,
            sign,
            re.compile(
                rf"(?<![\w.])(?<!\w-)(?P<name>[A-Za-z_][\w.-]{{0,63}})(?P<sign>[\\\"']*\s{{0,3}}{sign}>?\s{{0,3}}){_VALUE}"
            ),
            _redact_assigned,
        )
        for sign in ":="
    ),
    (
        8,
        "--",
        re.compile(rf"(?<!\w)(?P<name>--[A-Za-z][\w-]*)(?P<sign>\s+)(?!-){_VALUE}"),
        _redact_assigned,
    ),
    (
        12,
        "",
        re.compile(r"\b[A-Za-z]{2}\d{2}(?: ?[A-Za-z0-9]{4}){2,7}(?: ?[A-Za-z0-9]{1,3})?\b"),
        _redact_iban,
    ),
    (14, "", re.compile(r"(?<![\w.-])\d(?:[ -]?\d){13,18}(?![\w-])"), _redact_card),
)

# Every pattern contains one of these. Most texts contain none, and are returned at once.
_TRACE = re.compile(r"[@:=]|\d[ -]?\d|[\w.~+/-]{16}|--|(?i:bearer|basic)")
_SHORT = 10
_TRACE_IN_SHORT = re.compile(r"[@:=]|--")


def mask_passwords(text: str) -> str:
    """Return a text whose URLs, also those that cannot be parsed, have no passwords."""
    return _URL_PARAMETER.sub(r"\1***", _URL_PASSWORD.sub(r"\1:***@", text))


_URL_PASSWORD = re.compile(r"(?<=://)([^:/?#@\s]*):\S*@")
_URL_PARAMETER = re.compile(
    r"([?&][^=&\s]*(?:passw|pwd|secret|token|key)[^=&\s]*=)[^&#\s]*", re.IGNORECASE
)
