"""The ready graph: a model, its tools, and the guard between them."""

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel, LanguageModelLike
from langchain_core.messages import BaseMessage, SystemMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import ToolNode
from langgraph.store.base import BaseStore

from bighub_langgraph.core.errors import ConfigurationError
from bighub_langgraph.graph.embedding import add_guard
from bighub_langgraph.graph.state import messages_of
from bighub_langgraph.guard import BighubGuard

MODEL = "model"

Prompt = str | SystemMessage | Callable[[Any], Any] | Runnable[Any, Any]
Tools = Sequence[BaseTool | Callable[..., Any]] | ToolNode


def create_guarded_agent(
    model: str | LanguageModelLike,
    tools: Tools,
    guard: BighubGuard,
    *,
    prompt: Prompt | None = None,
    state_schema: type | None = None,
    context_schema: type | None = None,
    checkpointer: BaseCheckpointSaver[Any] | bool | None = None,
    store: BaseStore | None = None,
    name: str | None = None,
) -> CompiledStateGraph[Any, Any, Any, Any]:
    """An agent whose tool calls are evaluated, approved where needed, run once and reported.

    Args:
        model: A chat model, or a name such as "openai:gpt-4.1" (needs the `langchain` extra).
        tools: Tools, or a ToolNode with settings of its own.
        guard: The guard.
        prompt: System text, system message, or a function of the state that returns messages.
        state_schema: Your state; it has `messages` with a reducer. `MessagesState` by default.
        context_schema: The type of the run's context.
        checkpointer: Where threads are kept; without one nobody can be asked.
        store: The store that tools may use.
        name: The graph's name.
    """
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(
        state_schema or MessagesState, context_schema=context_schema
    )
    builder.add_node(MODEL, model_node(model, tools, prompt=prompt))
    builder.add_edge(START, MODEL)
    add_guard(builder, tools, guard, after=MODEL, then=MODEL)
    return builder.compile(checkpointer=checkpointer, store=store, name=name)


def model_node(
    model: str | LanguageModelLike,
    tools: Tools,
    *,
    prompt: Prompt | None = None,
    messages_key: str = "messages",
) -> "ModelNode":
    """A node that calls the model with its tools bound and adds the answer to the messages."""
    known = tools if isinstance(tools, ToolNode) else ToolNode(tools)
    bound = _bound(_opened(model), list(known.tools_by_name.values()))
    return ModelNode(bound, prompt, messages_key)


class ModelNode(Runnable[Any, Any]):
    """A node that calls a model; made by `model_node`."""

    def __init__(self, model: Runnable[Any, Any], prompt: Prompt | None, messages_key: str) -> None:
        self.name = MODEL
        self._model = model
        self._prompt = prompt
        self._messages_key = messages_key

    def invoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> dict[str, Any]:  # noqa: A002
        """Call the model."""
        said = self._model.invoke(self._prompted(input, config), config)
        return {self._messages_key: [said]}

    async def ainvoke(
        self,
        input: Any,  # noqa: A002 - the name is LangChain's
        config: RunnableConfig | None = None,
        **_: Any,
    ) -> dict[str, Any]:
        """Call the model on the running loop."""
        said = await self._model.ainvoke(self._prompted(input, config), config)
        return {self._messages_key: [said]}

    def _prompted(self, state: Any, config: RunnableConfig | None) -> list[BaseMessage]:
        messages = messages_of(state, self._messages_key)
        match self._prompt:
            case None:
                return messages
            case str(text):
                return [SystemMessage(text), *messages]
            case SystemMessage() as message:
                return [message, *messages]
            case Runnable() as runnable:
                return messages_of(runnable.invoke(state, config), self._messages_key)
            case function:
                return messages_of(function(state), self._messages_key)


def _opened(model: str | LanguageModelLike) -> Runnable[Any, Any]:
    if not isinstance(model, str):
        return model
    try:
        from langchain.chat_models import init_chat_model
    except ImportError as error:
        raise ConfigurationError(
            f"a model by name ({model!r}) needs LangChain: "
            "pip install 'bighub-langgraph[langchain]'"
        ) from error
    opened: Runnable[Any, Any] = init_chat_model(model)
    return opened


def _bound(model: Runnable[Any, Any], tools: list[BaseTool]) -> Runnable[Any, Any]:
    """The model with the tools bound, unless somebody bound them before."""
    if not tools or "tools" in getattr(model, "kwargs", {}) or not isinstance(model, BaseChatModel):
        return model
    return model.bind_tools(tools)
