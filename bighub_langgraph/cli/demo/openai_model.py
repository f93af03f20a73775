"""A chat model over OpenAI's chat completions, or any server that speaks them."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    InvalidToolCall,
    ToolCall,
    convert_to_openai_messages,
)
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from openai import OpenAIError

from bighub_langgraph.cli.demo.models import ModelFailed


class OpenAIChat(BaseChatModel):
    """Asks a model by its name, with the key and address of the `openai` client given."""

    client: Any
    model: str

    @property
    def _llm_type(self) -> str:
        return "openai-chat"

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offer tools to the model."""
        offered: dict[str, Any] = {"tools": [convert_to_openai_tool(tool) for tool in tools]}
        if tool_choice is not None:
            offered["tool_choice"] = tool_choice
        return self.bind(**offered, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        del run_manager
        asked = {"model": self.model, "messages": convert_to_openai_messages(messages), **kwargs}
        if stop:
            asked["stop"] = stop
        try:
            choice = self.client.chat.completions.create(**asked).choices[0]
        except OpenAIError as error:
            raise ModelFailed(str(error)) from error
        # A call that was cut off in the middle must not run, however complete it looks.
        whole = choice.finish_reason in {"stop", "tool_calls", "function_call"}
        message = _message(choice.message, whole=whole)
        return ChatResult(generations=[ChatGeneration(message=message)])


def _message(said: Any, *, whole: bool) -> AIMessage:
    calls = [call for call in said.tool_calls or () if call.type == "function"]
    read = [_call(call, whole=whole) for call in calls]
    return AIMessage(
        content=said.content or said.refusal or "",
        tool_calls=[call for call in read if call["type"] == "tool_call"],
        invalid_tool_calls=[call for call in read if call["type"] == "invalid_tool_call"],
    )


def _call(call: Any, *, whole: bool) -> ToolCall | InvalidToolCall:
    name, text = call.function.name, call.function.arguments or "{}"
    wrong = "" if whole else "the model's answer was cut off"
    try:
        arguments = json.loads(text)
    except ValueError as error:
        arguments, wrong = None, f"not JSON: {error}"
    if not wrong and isinstance(arguments, dict):
        return ToolCall(name=name, args=arguments, id=call.id, type="tool_call")
    return InvalidToolCall(
        name=name, args=text, id=call.id, error=wrong or "not an object", type="invalid_tool_call"
    )
