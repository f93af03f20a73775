"""The client of the model's service: the user's, or one of OpenAI's, imported only then."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bighub_langgraph.openai.errors import AdapterConfigurationError
from bighub_langgraph.openai.service import Service, async_service, blocking_service

__all__ = ["ASYNCHRONOUS", "BLOCKING", "Colour", "model_client"]


@dataclass(frozen=True, slots=True)
class Colour:
    """How a client talks to the model's service: with threads or with coroutines.

    Attributes:
        sdk: The client of OpenAI's SDK of this colour.
        other: That of the other colour, with the client of ours that it belongs to.
    """

    sdk: str
    other: tuple[str, str]
    service: Callable[..., Service]


BLOCKING = Colour("OpenAI", ("AsyncOpenAI", "AsyncBighubOpenAI"), blocking_service)
ASYNCHRONOUS = Colour("AsyncOpenAI", ("OpenAI", "BighubOpenAI"), async_service)


def model_client(colour: Colour, client: Any, api_key: str | None) -> tuple[Any, bool]:
    """Take the user's client or open one; say whether it is ours to close."""
    if client is not None:
        _refuse_unfit(colour, client)
        return client, False
    if not (api_key or os.environ.get("OPENAI_API_KEY")):
        raise AdapterConfigurationError(
            "no model to ask: pass openai_api_key= or openai_client=, or set OPENAI_API_KEY"
        )
    import openai

    return getattr(openai, colour.sdk)(api_key=api_key), True


def _refuse_unfit(colour: Colour, client: Any) -> None:
    if not callable(getattr(getattr(client, "responses", None), "create", None)):
        raise AdapterConfigurationError(f"openai_client has no responses.create: {client!r:.80}")
    other, belongs = colour.other
    # Looked up and not imported: whoever passes one of its clients has imported it.
    theirs = getattr(sys.modules.get("openai"), other, ())
    if isinstance(client, theirs):
        raise AdapterConfigurationError(f"openai_client is an openai.{other}: pass it to {belongs}")
