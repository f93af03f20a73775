"""The methods by which tools get into a client."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from bighub_langgraph.core.policy import DecisionMode
from bighub_langgraph.openai.tools import Tools, make_tool

__all__ = ["Registering"]

Json = dict[str, Any]
Function = TypeVar("Function", bound=Callable[..., Any])
FromArguments = Callable[[Json], Any]


class Registering:
    """Holds a client's tools."""

    def __init__(self) -> None:
        self._tools = Tools()

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
        """Let the model call a function, and say what BIGHUB is told of a call.

        Args:
            name: The tool's name for the model.
            fn: The function, blocking or async.
            description: For the model; the docstring by default.
            parameters_schema: A JSON Schema instead of the one that the signature gives.
            value_from_args: What is at stake, from the arguments, as plain JSON.
            target_from_args: Whom or what the call touches.
            action_name: What BIGHUB calls the action; the tool's name by default.
            domain: Overrides the client's domain.
            actor: Overrides the client's actor.
            metadata_from_args: Further facts for BIGHUB.
            decision_mode: Overrides the client's decision mode.
            strict: Whether to hold the model to the schema, where that can be said.
            policy: More of `ToolPolicy`: read_only, idempotent, always_review, allowed, probe.
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
        tool = make_tool(
            name,
            fn,
            description=description,
            parameters_schema=parameters_schema,
            strict=strict,
            policy=policy,
        )
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
        """Decorate a function to register it as an action; BIGHUB is told these facts of each call.

        Args:
            system: What the action touches; also the domain, unless one is given.
            risk: How risky it is, in your own word.
            environment: Where it acts, say "production".
            name: The tool's name; the function's by default.
            options: More for `register_tool`.
        """
        facts = {"system": system, "risk": risk, "environment": environment}
        known = {key: value for key, value in facts.items() if value}
        more: FromArguments | None = options.pop("metadata_from_args", None)

        def metadata(arguments: Json) -> Mapping[str, Any]:
            return {**((more(arguments) if more else None) or {}), **known}

        def register(fn: Function) -> Function:
            domain = options.get("domain") or system
            given = {**options, "domain": domain, "metadata_from_args": metadata}
            self.register_tool(name or fn.__name__, fn, **given)
            return fn

        return register

    def list_tools(self) -> Sequence[Json]:
        """The registered tools in the shape of Chat Completions."""
        return [tool.listing for tool in self._tools]
