"""The demo's chat model: the scripted one, or a real one by its name."""

import os

from langchain_core.language_models import BaseChatModel

from bighub_langgraph.cli.console import stop


class ModelFailed(Exception):
    """The real model gave no answer; the message is what its service said."""


def chat_model(name: str | None) -> BaseChatModel:
    """Open a model; a real one needs a key, and without one the command ends with code 2."""
    if name is None:
        from bighub_langgraph.cli.demo.scripted import ScriptedModel

        return ScriptedModel()
    if not os.environ.get("OPENAI_API_KEY"):
        stop(
            f"--model {name} needs OPENAI_API_KEY (and OPENAI_BASE_URL for a server of your own); "
            "without --model a scripted model plays its part"
        )
    from openai import OpenAI

    from bighub_langgraph.cli.demo.openai_model import OpenAIChat

    return OpenAIChat(client=OpenAI(), model=name)
