"""The tools of one client: what the model may call, and what BIGHUB learns about each call."""

import inspect
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from bighub_langgraph.core.decision import resolve_verdict
from bighub_langgraph.core.errors import ConfigurationError, InvalidCall
from bighub_langgraph.core.evaluation import evaluate_request
from bighub_langgraph.core.jsonable import digest, replace_surrogates
from bighub_langgraph.core.models import ToolCall, Verdict
from bighub_langgraph.core.policy import (
    DecisionMode,
    GuardSettings,
    ToolPolicy,
    build_evaluation_request,
)
from bighub_langgraph.openai.arguments import Parameters
from bighub_langgraph.openai.errors import AdapterConfigurationError
from bighub_langgraph.openai.events import complete_decision

if TYPE_CHECKING:
    from bighub_langgraph.openai.run import RunContext

Json = dict[str, Any]
Function = TypeVar("Function", bound=Callable[..., Any])
FromArguments = Callable[[Json], Any]

RESOLVED_ACTIONS = {
    Verdict.EXECUTE: "execute",
    Verdict.REVIEW: "approval_required",
    Verdict.BLOCK: "blocked",
}
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call.

    Attributes:
        on_loop: Whether it is a coroutine function, which an event loop runs by itself.
    """

    name: str
    fn: Callable[..., Any]
    description: str
    parameters: Parameters
    policy: ToolPolicy
    on_loop: bool

    @property
    def fingerprint(self) -> str:
        """Digest of what a person approves besides the arguments: name and schema."""
        return digest([self.name, self.parameters.schema], of=f"tool {self.name!r}")

    @property
    def definition(self) -> Json:
        """The tool in the form of the Responses API."""
        return {
            "type": "function",
            "name": self.name,
            "description": self.description,
            "parameters": self.parameters.schema,
            "strict": self.parameters.strict,
        }


class ToolRegistry:
    """A client's tools by name. Threads may add tools while others run.

    Attributes:
        settings: The client's settings with the policies of these tools, where they have one.
        definitions: The tools in the form of the Responses API.
    """

    def __init__(self, settings: GuardSettings) -> None:
        self.settings = self._client_settings = settings
        self._tools: dict[str, Tool] = {}
        self.definitions: Sequence[Json] = ()
        self._lock = threading.Lock()

    def add(self, tool: Tool) -> None:
        """Add a tool. It replaces one of the same name."""
        with self._lock:
            self._tools = {**self._tools, tool.name: tool}
            self.definitions = [tool.definition for tool in self]
            policies = {tool.name: tool.policy for tool in self if tool.policy != ToolPolicy()}
            tools = {**self._client_settings.tools, **policies}
            self.settings = replace(self._client_settings, tools=tools)

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    def __len__(self) -> int:
        return len(self._tools)

    def __getitem__(self, name: str) -> Tool:
        if (tool := self._tools.get(name)) is None:
            names = ", ".join(sorted(self._tools)) or "none"
            raise InvalidCall(f"there is no tool named {name!r}; the tools are: {names}")
        return tool


class ToolRegistration:
    """The methods that register and list a client's tools."""

    def __init__(self, settings: GuardSettings) -> None:
        self._tools = ToolRegistry(settings)

    def register_tool(  # noqa: PLR0917 - the published adapter's signature
        self,
        name: str,
        fn: Callable[..., Any],
        description: str | None = None,
        parameters_schema: Json | None = None,
        value_from_args: FromArguments | None = None,
        target_from_args: FromArguments | None = None,
        action_name: str | None = None,
        domain: str | None = None,
        actor: str | None = None,
        metadata_from_args: FromArguments | None = None,
        decision_mode: DecisionMode | None = None,
        strict: bool = True,  # noqa: FBT001, FBT002 - the published adapter takes it by position
        **policy: Any,
    ) -> None:
        """Let the model call a function, and set what BIGHUB learns about each call.

        Args:
            name: The tool's name for the model.
            fn: The function, blocking or async.
            description: For the model; the docstring by default.
            parameters_schema: A JSON Schema (Draft 2020-12) instead of the one made from the
                signature. References to other documents are not loaded.
            value_from_args: Computes what is at stake from the JSON arguments.
            target_from_args: Computes whom or what the call affects.
            action_name: The action's name for BIGHUB; the tool's name by default.
            domain: Overrides the client's domain.
            actor: Overrides the client's actor.
            metadata_from_args: Computes further facts for BIGHUB.
            decision_mode: Overrides the client's decision mode.
            strict: Whether to use OpenAI's strict mode where it can express the parameters.
            policy: More of `ToolPolicy`: read_only, idempotent, always_review, allowed, probe.

        Raises:
            AdapterConfigurationError: The tool cannot work as it is registered.
        """
        policy |= {
            "value_from_args": value_from_args,
            "target_from_args": target_from_args,
            "metadata_from_args": metadata_from_args,
            "action_name": action_name,
            "domain": domain,
            "actor": actor,
            "decision_mode": decision_mode,
        }
        tool = make_tool(name, fn, description, parameters_schema, strict=strict, policy=policy)
        self._tools.add(tool)

    def tool(self, name: str, fn: Callable[..., Any], **options: Any) -> None:
        """Register a tool; see `register_tool`."""
        self.register_tool(name, fn, **options)

    def action(
        self,
        *,
        system: str | None = None,
        risk: str = "",
        environment: str = "",
        name: str | None = None,
        **options: Any,
    ) -> Callable[[Function], Function]:
        """Decorate a function to register it; BIGHUB receives these facts with each call.

        Args:
            system: What the action affects; also the domain, unless one is passed.
            risk: How risky it is, in your own words.
            environment: Where it acts, for example "production".
            name: The tool's name; the function's by default.
            options: More for `register_tool`.
        """
        facts = {"system": system, "risk": risk, "environment": environment}
        facts = {key: value for key, value in facts.items() if value}
        own_metadata: FromArguments | None = options.pop("metadata_from_args", None)

        def metadata(arguments: Json) -> Mapping[str, Any]:
            return {**((own_metadata(arguments) if own_metadata else None) or {}), **facts}

        def register(fn: Function) -> Function:
            domain = options.get("domain") or system
            changed_options = {**options, "domain": domain, "metadata_from_args": metadata}
            self.register_tool(name or fn.__name__, fn, **changed_options)
            return fn

        return register

    def list_tools(self) -> Sequence[Json]:
        """Return the registered tools in the form of Chat Completions."""
        definitions = [tool.definition for tool in self._tools]
        return [{"type": item.pop("type"), "function": item} for item in definitions]


def make_tool(
    name: str,
    fn: Callable[..., Any],
    description: str | None,
    parameters_schema: Json | None,
    *,
    strict: bool,
    policy: Mapping[str, Any],
) -> Tool:
    """Make a tool of what a user registers.

    Raises:
        AdapterConfigurationError: It cannot work; better reported here than during a run.
    """
    # Late, because pydantic, griffe and jsonschema are slow to load and only tools need them.
    from bighub_langgraph.openai.function_schema import (
        parameters_from_signature,
        read_docstring,
        unwrap_function,
    )

    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise AdapterConfigurationError(
            f"a tool's name has 1 to 64 letters, digits, _ and -, unlike {name!r}"
        )
    if not callable(fn):
        raise AdapterConfigurationError(f"tool {name!r}: fn must be callable, not {fn!r}")
    function = unwrap_function(fn)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise AdapterConfigurationError(
            f"tool {name!r}: a generator function returns before it runs; return a list instead"
        )
    if parameters_schema is None:
        parameters: Parameters = parameters_from_signature(fn, name, strict=strict)
    else:
        from bighub_langgraph.openai.parameters_schema import parameters_from_schema

        parameters = parameters_from_schema(parameters_schema, fn, name, strict=strict)
    description = description or read_docstring(fn).description or f"Execute {name}"
    is_async = inspect.iscoroutinefunction(function)
    description = replace_surrogates(description)  # else no request that holds it can be sent
    return Tool(name, fn, description, parameters, _make_policy(name, policy), is_async)


async def check_tool_call(tool: Tool, arguments: Any, context: "RunContext", call_id: str) -> Json:
    """Evaluate a call without running it; return BIGHUB's response and the action it leads to."""
    call = ToolCall(call_id, call_id, call_id, tool.name, tool.parameters.check(arguments))
    request = build_evaluation_request(
        call, context.settings, session=context.session_id, trajectory=call_id
    )
    decision = await evaluate_request(request, call.key, context.settings, context.ports)
    floor = (
        Verdict.REVIEW if context.settings.policy_for(tool.name).always_review else Verdict.EXECUTE
    )
    verdict = resolve_verdict(decision, floor, context.settings.minimum_mode)
    return {**complete_decision(decision.reply), "_resolved_action": RESOLVED_ACTIONS[verdict]}


def _make_policy(name: str, options: Mapping[str, Any]) -> ToolPolicy:
    options = {option: value for option, value in options.items() if value is not None}
    try:
        return ToolPolicy(**options)
    except (ConfigurationError, TypeError) as error:
        raise AdapterConfigurationError(f"tool {name!r}: {error}") from error
