"""Keys of every known format are hidden, and ordinary numbers, identifiers and words are not."""

import base64
import random
import re
import string
import uuid
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bighub_langgraph.core.redaction import REDACTED, redact
from bighub_langgraph.core.secret_formats import SECRET_FORMATS

RANDOM = random.Random(1)
DIGITS, HEX, ALPHANUMERIC = string.digits, "0123456789abcdef", string.ascii_letters + string.digits
TOKEN = ALPHANUMERIC + "-_"


def some(length: int, alphabet: str = ALPHANUMERIC) -> str:
    return "".join(RANDOM.choice(alphabet) for _ in range(length))


@pytest.mark.parametrize("service", SECRET_FORMATS)
@settings(max_examples=5, suppress_health_check=list(HealthCheck), database=None)
@given(st.data())
def test_a_key_of_a_known_format_is_hidden_wherever_it_stands(
    service: str, data: st.DataObject
) -> None:
    pattern = re.compile(SECRET_FORMATS[service], re.ASCII)
    key = data.draw(st.from_regex(pattern, fullmatch=True))
    for text in ("{}", "use {} for it", "key:{}", '{{"x": "{}"}}', "https://x.org/?k={}"):
        assert key[-12:] not in redact(text.format(key))
    assert key[-12:] not in str(redact({"note": [key]}))


# As the services document or show them, apart from the rows that find them.
ISSUED: dict[str, Callable[[], str]] = {
    "OpenAI project": lambda: f"sk-proj-{some(74, TOKEN)}T3BlbkFJ{some(74, TOKEN)}",
    "OpenAI": lambda: f"sk-{some(20)}T3BlbkFJ{some(20)}",
    "OpenAI service account": lambda: f"sk-svcacct-{some(74, TOKEN)}T3BlbkFJ{some(58, TOKEN)}",
    "Anthropic": lambda: f"sk-ant-api03-{some(93, TOKEN)}AA",
    "GitHub": lambda: f"ghp_{some(36)}",
    "GitHub fine-grained": lambda: f"github_pat_{some(22)}_{some(59)}",
    "GitLab": lambda: f"glpat-{some(20, TOKEN)}",
    "Slack": lambda: f"xoxb-{some(12, DIGITS)}-{some(13, DIGITS)}-{some(24)}",
    "Stripe": lambda: f"sk_live_{some(99)}",
    "AWS session": lambda: f"ASIA{some(16, string.ascii_uppercase + '234567')}",
    "Google": lambda: f"AIza{some(35, TOKEN)}",
    "Hugging Face": lambda: f"hf_{some(34, string.ascii_letters)}",
    "npm": lambda: f"npm_{some(36)}",
    "SendGrid": lambda: f"SG.{some(22, TOKEN)}.{some(43, TOKEN)}",
    "Twilio": lambda: f"SK{some(32, HEX)}",
    "Azure": lambda: f"AccountKey={some(86, ALPHANUMERIC + '+/')}==",
    "BIGHUB": lambda: f"bh_{some(43, TOKEN)}",
}


@pytest.mark.parametrize("service", ISSUED)
def test_fewer_than_one_issued_key_in_a_hundred_is_missed(service: str) -> None:
    keys = [ISSUED[service]() for _ in range(200)]
    missed = [
        key for key in keys if redact(f"the key {key} is new") != f"the key {REDACTED} is new"
    ]
    assert len(missed) <= 1


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG", "wJalr"),
        ("export DB_PASSWORD='a b hunter2'", "hunter2"),
        ("DB_PASS=hunter2", "hunter2"),
        ("https://x.org/cb?access_token=hunter2&page=2", "hunter2"),
        ("https://x.org/f?X-Amz-Signature=hunter2", "hunter2"),
        ('body {"accessToken": "hunter2", "id": 3}', "hunter2"),
        ('body {"client_secret":"a hunter2"}', "hunter2"),
        (r'{"body": "{\"accessToken\": \"hunter2\"}"}', "hunter2"),
        ("mysql --password hunter2 -u root", "hunter2"),
        ("run --api-key=hunter2", "hunter2"),
        ("dbpassword: hunter2", "hunter2"),
        ("authtoken = hunter2", "hunter2"),
        ("accesskey=hunter2", "hunter2"),
        ("Cookie: session=hunter2", "hunter2"),
    ],
)
def test_a_secret_that_a_text_assigns_to_its_name_is_hidden(text: str, hidden: str) -> None:
    redacted = redact(text)
    assert hidden not in redacted
    assert redact(redacted) == redacted


@pytest.mark.parametrize(
    "key", ["pass", "db_pass", "dbpassword", "authtoken", "accesskey", "clientsecret", "apitoken"]
)
def test_names_in_one_piece_are_names_of_secrets(key: str) -> None:
    assert redact({key: "hunter2"}) == {key: REDACTED}


ORDINARY: dict[str, Callable[[], str]] = {
    "order number": lambda: some(10, DIGITS),
    "long order number": lambda: f"ORD-{RANDOM.randint(2015, 2030)}-{some(8, DIGITS)}",
    "order number of 16 digits": lambda: f"order {some(16, DIGITS)}",
    "tracking number": lambda: f"tracking no. {some(16, DIGITS)}",
    "milliseconds": lambda: str(RANDOM.randint(15 * 10**11, 19 * 10**11)),
    "nanoseconds": lambda: str(RANDOM.randint(15 * 10**17, 19 * 10**17)),
    "telephone": lambda: f"+49 {some(3, DIGITS)} {some(7, DIGITS)}",
    "book": lambda: f"978{some(10, DIGITS)}",
    "UUID": lambda: str(uuid.UUID(int=RANDOM.getrandbits(128))),
    "MD5": lambda: some(32, HEX),
    "SHA-1": lambda: some(40, HEX),
    "SHA-256": lambda: some(64, HEX),
    "Base64": lambda: base64.b64encode(RANDOM.randbytes(24)).decode(),
    "identifier": lambda: some(20),
    "ULID": lambda: some(26, "0123456789ABCDEFGHJKMNPQRSTVWXYZ"),
    "tool call": lambda: f"call_{some(24)}",
    "response": lambda: f"resp_{some(48, HEX)}",
    "address": lambda: f"https://shop.example.org/orders/{some(12)}?page=2",
    "path": lambda: f"/var/lib/{some(8)}/{some(12)}.json",
    "words": lambda: "-".join(RANDOM.choices(["sk", "token", "pass", "oak", "key", "chair"], k=6)),
    "values": lambda: f"order: {some(8, DIGITS)}, amount={some(3, DIGITS)}, max_tokens=500",
}


@pytest.mark.parametrize("kind", ORDINARY)
def test_fewer_than_one_ordinary_text_in_a_hundred_is_changed(kind: str) -> None:
    texts = [f"see {ORDINARY[kind]()} please" for _ in range(500)]
    assert sum(redact(text) != text for text in texts) < 5


ORDER_NAMES = ["order_id", "orderNumber", "order", "invoice_no", "tracking-number", "order_ids"]


@pytest.mark.parametrize("name", ORDER_NAMES)
def test_a_number_of_an_order_is_not_taken_for_that_of_a_card(name: str) -> None:
    numbers = [some(16, DIGITS) for _ in range(500)]
    assert redact([{name: number, "n": {name: [int(number)]}} for number in numbers]) == [
        {name: number, "n": {name: [int(number)]}} for number in numbers
    ]


def card(prefix: str, length: int) -> str:
    """Return a card number of an issuer."""
    digits = prefix + some(length - len(prefix) - 1, DIGITS)
    doubled = [int(d) * (2 - place % 2) for place, d in enumerate(reversed(digits))]
    return digits + str(-sum(d - 9 if d > 9 else d for d in doubled) % 10)


ISSUERS = [("4", 16), ("4", 19), ("51", 16), ("2221", 16), ("37", 15), ("36", 14), ("6011", 16)]
TEXTS = [
    "{}",
    "charge {} now",
    "the order was paid with {}",
    "order by card {}",
    "card of order {}",
]
NAMES = ["n", "card", "note", "pan", "account", "order_card", "card_order_id", "payment"]


@pytest.mark.parametrize(("prefix", "length"), ISSUERS)
def test_a_card_number_is_hidden_wherever_no_order_is_named(prefix: str, length: int) -> None:
    for _ in range(20):
        number = card(prefix, length)
        grouped = " ".join(number[place : place + 4] for place in range(0, length, 4))
        for text in TEXTS:
            assert redact(text.format(number)) == text.format(REDACTED)
            assert redact(text.format(grouped)) == text.format(REDACTED)
        for name in NAMES:
            assert redact({name: number, "x": {name: [int(number)]}}) == {
                name: REDACTED,
                "x": {name: [REDACTED]},
            }
        assert redact({"order_id": grouped, "text": f"order {grouped}"}) == {
            "order_id": REDACTED,
            "text": f"order {REDACTED}",
        }
