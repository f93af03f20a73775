"""JSON as text, by an encoder that is set up once."""

import json
from collections.abc import Callable
from json import encoder
from typing import Any


def writer(**options: Any) -> Callable[[object], str]:
    """What `json.JSONEncoder(**options).encode` does.

    `encode` sets up a new encoder in C for each value, which takes as long as writing a small one.
    What holds itself is a `RecursionError` here.
    """
    plan = json.JSONEncoder(**options, check_circular=False)
    if (in_c := getattr(encoder, "c_make_encoder", None)) is None:
        return plan.encode
    text = encoder.encode_basestring_ascii if plan.ensure_ascii else encoder.encode_basestring
    separators = plan.key_separator, plan.item_separator
    parts = in_c(
        None, plan.default, text, None, *separators, plan.sort_keys, plan.skipkeys, plan.allow_nan
    )
    return lambda value: "".join(parts(value, 0))
