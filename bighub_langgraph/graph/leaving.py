"""A tool that hands over to the graph around its own: the turn it leaves must not dangle."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, TypeGuard

from langchain_core.messages import BaseMessage, ToolMessage
from langgraph.errors import ParentCommand
from langgraph.types import Command, Send

from bighub_langgraph.core.ports import Ports
from bighub_langgraph.graph.answering import tool_messages
from bighub_langgraph.graph.closing import end_calls
from bighub_langgraph.graph.inputs import Calls
from bighub_langgraph.graph.state import last_turn

HANDED_OVER = "the conversation was handed over before it ran"


def leaves(part: Any) -> TypeGuard[Command[Any]]:
    """Whether a part of an update goes to the graph around this one."""
    return isinstance(part, Command) and part.graph == Command.PARENT


ReadMessages = Callable[[], Awaitable[list[BaseMessage]]]


async def close_turn(
    parts: Sequence[Any], calls: Calls, ports: Ports, messages_key: str, read: ReadMessages
) -> list[Any]:
    """The parts of an update, where a command to the parent answers all that it leaves behind.

    What is open is closed, what runs is waited for, what ran is handed on with its result: the
    graph that is left keeps nothing of it.

    Args:
        parts: The updates and commands that the turn's tools gave.
        calls: The calls that this task was given.
        ports: The journal's.
        messages_key: Where the messages are.
        read: Reads the messages, in which the turn's other calls are.
    """
    leaving: list[Command[Any]] = [one for one in parts if leaves(one)]
    if not leaving:
        return list(parts)
    answered = {message.tool_call_id for one in leaving for message in _said(one)}
    message, done = last_turn(await read())
    turn = [] if message is None else message.tool_calls
    left = [one for one in turn if one["id"] not in answered | done]
    ended = await end_calls(left, calls.thread, calls.turn, HANDED_OVER, ports)
    carrier = next((one for one in leaving if tool_messages(one.update)), None)
    if carrier is None:
        return list(parts)
    answers = _with(carrier, ended, messages_key)
    return [answers if one is carrier else one for one in parts]


async def close_behind(
    signal: BaseException, calls: Calls, ports: Ports, messages_key: str, read: ReadMessages
) -> BaseException:
    """The same for a command to the parent that was raised."""
    if not isinstance(signal, ParentCommand):
        return signal
    [command] = await close_turn([signal.args[0]], calls, ports, messages_key, read)
    return ParentCommand(command)


def joined(parts: Sequence[Any]) -> list[Any]:
    """The parts, commands that send to the parent made one: LangGraph obeys only the first."""
    sending = [one for one in parts if leaves(one) and _only_sends(one)]
    if len(sending) < 2:  # noqa: PLR2004 - nothing to join
        return list(parts)
    sends = [send for one in sending for send in _goto(one)]
    together = replace(sending[0], goto=sends)
    return [*(one for one in parts if one not in sending), together]


def without_goto(part: Any, node: str) -> Any:
    """A part of an update without its `goto` to a node of this graph.

    Behind the guard's tools its own edges lead to the model, once every call of the turn is
    answered. A tool that goes there would have the model run a second time.
    """
    if not isinstance(part, Command) or part.graph is not None:
        return part
    goto = part.goto if isinstance(part.goto, list | tuple) else [part.goto]
    return replace(part, goto=[one for one in goto if one != node])


def _said(command: Command[Any]) -> list[ToolMessage]:
    told = [one.arg for one in _goto(command) if isinstance(one, Send)]
    return [*tool_messages(command.update), *tool_messages(told)]


def _goto(command: Command[Any]) -> Sequence[Any]:
    return command.goto if isinstance(command.goto, list | tuple) else ()


def _only_sends(command: Command[Any]) -> bool:
    return isinstance(command.goto, list) and all(isinstance(one, Send) for one in command.goto)


def _with(command: Command[Any], ended: list[ToolMessage], messages_key: str) -> Command[Any]:
    if isinstance(command.update, list):
        return replace(command, update=[*command.update, *ended])
    if isinstance(command.update, dict):
        told = [*command.update.get(messages_key, []), *ended]
        return replace(command, update={**command.update, messages_key: told})
    return command
