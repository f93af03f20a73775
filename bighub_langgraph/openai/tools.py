"""The tools of one client: what the model may call, and what BIGHUB is told of it."""

import inspect
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from bighub_langgraph.core.errors import ConfigurationError, InvalidCall
from bighub_langgraph.core.models import digest
from bighub_langgraph.core.policy import GuardSettings, ToolPolicy
from bighub_langgraph.openai.docstrings import described
from bighub_langgraph.openai.errors import AdapterConfigurationError
from bighub_langgraph.openai.schemas import Parameters, from_schema, from_signature

__all__ = ["Tool", "Tools", "make_tool"]

Json = dict[str, Any]
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may ask for.

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
        """What the Responses API is told."""
        return {"type": "function", **self._described}

    @property
    def listing(self) -> Json:
        """The same in the shape of Chat Completions."""
        return {"type": "function", "function": self._described}

    @property
    def _described(self) -> Json:
        return {
            "name": self.name,
            "description": self.description,
            "parameters": self.parameters.schema,
            "strict": self.parameters.strict,
        }


def make_tool(
    name: str,
    fn: Callable[..., Any],
    *,
    description: str | None,
    parameters_schema: Json | None,
    strict: bool,
    policy: Mapping[str, Any],
) -> Tool:
    """Check what a user registers: what cannot work is refused here, not in a run."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise AdapterConfigurationError(
            f"a tool's name has 1 to 64 letters, digits, _ and -, unlike {name!r}"
        )
    if not callable(fn):
        raise AdapterConfigurationError(f"tool {name!r}: fn must be callable, not {fn!r}")
    called = _called(fn)
    if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        raise AdapterConfigurationError(
            f"tool {name!r}: a generator would return before it ran; collect what it yields"
        )
    if parameters_schema is None:
        parameters = from_signature(fn, name, strict=strict)
    else:
        parameters = from_schema(parameters_schema, fn, name, strict=strict)
    said = description or described(fn)[0] or f"Execute {name}"
    return Tool(name, fn, said, parameters, _policy(name, policy), is_coroutine_function(fn))


def is_coroutine_function(fn: Any) -> bool:
    """Whether calling a function gives a coroutine, as far as one can see before."""
    return inspect.iscoroutinefunction(_called(fn))


def _called(fn: Any) -> Any:
    """The function behind partials and objects that can be called."""
    while isinstance(fn, partial):
        fn = fn.func
    return fn if inspect.isroutine(fn) else type(fn).__call__


class Tools:
    """A client's tools by name. Threads may register while others run."""

    def __init__(self) -> None:
        self._tools: dict[str, Tool] = {}
        self._definitions: list[Json] = []
        self._lock = threading.Lock()
        self._governed: tuple[dict[str, Tool], GuardSettings, GuardSettings] | None = None

    def add(self, tool: Tool) -> None:
        """Add a tool; one of the same name gives way."""
        with self._lock:
            self._tools = {**self._tools, tool.name: tool}
            self._definitions = [one.definition for one in self]

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    def __len__(self) -> int:
        return len(self._tools)

    def __getitem__(self, name: str) -> Tool:
        if (tool := self._tools.get(name)) is None:
            known = ", ".join(sorted(self._tools)) or "none"
            raise InvalidCall(f"there is no tool named {name!r}; the tools are: {known}")
        return tool

    @property
    def definitions(self) -> list[Json]:
        """What the Responses API is told of them all."""
        return [dict(one) for one in self._definitions]

    def governed(self, rules: GuardSettings) -> GuardSettings:
        """Rules with the policies of these tools; a guard's own stand where a tool says nothing."""
        tools, known = self._tools, self._governed
        if known is None or known[0] is not tools or known[1] is not rules:
            own = {name: tool.policy for name, tool in tools.items() if tool.policy != ToolPolicy()}
            governed = replace(rules, tools={**rules.tools, **own})
            self._governed = known = (tools, rules, governed)
        return known[2]


def _policy(name: str, options: Mapping[str, Any]) -> ToolPolicy:
    given = {option: value for option, value in options.items() if value is not None}
    if value_from_args := given.get("value_from_args"):
        given["value_from_args"] = _numeric(value_from_args)
    try:
        return ToolPolicy(**given)
    except (ConfigurationError, TypeError) as error:
        raise AdapterConfigurationError(f"tool {name!r}: {error}") from error


def _numeric(function: Callable[[Json], Any]) -> Callable[[Json], Any]:
    """Let a function give a number as text: a `Decimal` parameter is text among JSON arguments."""

    def value(arguments: Json) -> Any:
        found = function(arguments)
        return float(found) if isinstance(found, str) else found

    return value
