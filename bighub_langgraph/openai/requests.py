"""What is sent to the model in each round."""

from collections.abc import Mapping, Sequence
from typing import Any

from bighub_langgraph.openai.errors import AdapterConfigurationError
from bighub_langgraph.openai.replies import in_json
from bighub_langgraph.openai.talk import Talk

__all__ = ["input_items", "next_request", "settings_of"]

Json = dict[str, Any]

_NOT_EXTRA = {
    "input": "pass messages=",
    "stream": "call run_stream",
    "background": "a run waits for each answer",
}


def settings_of(
    model: str, instructions: str | None, temperature: float | None, extra: Mapping[str, Any] | None
) -> Json:
    """Put together what the user wants to be in every request."""
    extra = dict(extra or {})
    for name in extra.keys() & _NOT_EXTRA.keys():
        raise AdapterConfigurationError(
            f"extra_create_args cannot hold {name!r}: {_NOT_EXTRA[name]}"
        )
    named = {"model": model, "instructions": instructions, "temperature": temperature}
    settings = {**{name: value for name, value in named.items() if value is not None}, **extra}
    if "conversation" not in settings:
        settings.setdefault("store", False)
    return settings


def input_items(messages: Any) -> list[Json]:
    """Read the user's messages: a text, a message, or a list of messages and items of any kind."""
    if messages is None:
        raise AdapterConfigurationError("pass messages=, or state= to go on with a stopped run")
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    if isinstance(messages, Mapping):
        return [in_json(messages)]
    return [in_json(message) for message in messages]


def next_request(talk: Talk, tools: Sequence[Json]) -> Json:
    """Say the next request.

    A conversation that the service stores is continued by its id; any other is sent again, whole.
    """
    request = {**talk.settings, "tools": [*tools, *(talk.settings.get("tools") or ())]}
    if talk.rounds:
        _let_go(request)
    if request.get("conversation"):
        return {**request, "input": list(talk.fresh)}
    if request.get("store") and talk.previous:
        return {**request, "input": list(talk.fresh), "previous_response_id": talk.previous}
    return {**request, "input": list(talk.items)}


def _let_go(request: Json) -> None:
    """Stop forcing a tool: a model that must call one in every round never comes to an end."""
    choice = request.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        request["tool_choice"] = {**choice, "mode": "auto"}
    elif choice not in (None, "none", "auto"):
        request["tool_choice"] = "auto"
