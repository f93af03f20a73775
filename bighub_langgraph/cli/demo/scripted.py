"""A chat model that follows a script: it stands in for an LLM where there is no key for one."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolCall, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from bighub_langgraph.cli.demo.script import Call, next_calls


class ScriptedModel(BaseChatModel):
    """Answers from the conversation alone, the same every time, with the tools it is bound to."""

    tool_names: frozenset[str] = frozenset()

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Take the tools it may call; others in its script it leaves out."""
        del tool_choice, kwargs
        names = (convert_to_openai_tool(tool)["function"]["name"] for tool in tools)
        return self.model_copy(update={"tool_names": frozenset(names)})

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        del stop, run_manager, kwargs
        asked = max(n for n, message in enumerate(messages) if isinstance(message, HumanMessage))
        turn = messages[asked + 1 :]
        rounds = sum(isinstance(message, AIMessage) for message in turn)
        results = [message for message in turn if isinstance(message, ToolMessage)]
        calls = next_calls(str(messages[asked].text), rounds, [_read(one) for one in results])
        wanted = [call for call in calls if call.tool in self.tool_names]
        message = AIMessage(
            content="" if wanted else _last_word(results),
            tool_calls=[_tool_call(call, f"call_{rounds}_{n}") for n, call in enumerate(wanted)],
        )
        return ChatResult(generations=[ChatGeneration(message=message)])


def _tool_call(call: Call, call_id: str) -> ToolCall:
    return ToolCall(name=call.tool, args=dict(call.arguments), id=call_id, type="tool_call")


def _read(result: ToolMessage) -> Mapping[str, Any]:
    """A tool's result as JSON, or nothing where it was none."""
    try:
        parsed = json.loads(str(result.text))
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) and result.status != "error" else {}


def _last_word(results: Sequence[ToolMessage]) -> str:
    failed = [str(result.name) for result in results if result.status == "error"]
    if failed:
        return f"I could not do all of it ({', '.join(failed)}); a colleague will write to you."
    return "Done. Is there anything else?" if results else "How can I help?"
