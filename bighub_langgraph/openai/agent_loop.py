"""The loop of a run: request a response, run its tool calls, until it is done or must wait."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, nullcontext
from copy import deepcopy
from typing import Any
from uuid import uuid4

from bighub_langgraph.core.jsonable import replace_all_surrogates, replace_surrogates
from bighub_langgraph.openai.continuation import claim_continuation
from bighub_langgraph.openai.errors import AdapterConfigurationError, ProviderResponseError
from bighub_langgraph.openai.response_parsing import ModelResponse, serialize_response, to_items
from bighub_langgraph.openai.run import (
    Run,
    RunContext,
    RunEnding,
    ToolCallState,
    to_replayable,
)
from bighub_langgraph.openai.run_approvals import (
    AskForApproval,
    ask_for_approvals,
    record_answers,
    summarize_approvals,
)
from bighub_langgraph.openai.tool_calls import run_turn

Json = dict[str, Any]
# The events of a run as they come, and its ending last.
Parts = AsyncGenerator[Json | RunEnding, None]

NO_RESPONSE = ModelResponse(id=None, status="failed", items=(), text="")
# The status of a response whose calls are still to be run.
_IN_PROGRESS = "in_progress"


async def run_agent(
    run: Run,
    context: RunContext,
    *,
    stream: bool,
    response: ModelResponse = NO_RESPONSE,
    once: bool = False,
) -> Parts:
    """Request responses and run their tool calls until the run stops.

    A run that stopped for people's answers continues with them.

    Args:
        run: The run so far.
        context: What it needs from outside.
        stream: Whether to yield the events of the responses and calls.
        response: The last response of a run that is resumed.
        once: Whether each response is stored in the journal before its calls run, so that the same
            state resumed again gets the same response, and with it the results of the same calls.
    """
    step = record_answers(run, context) if run.calls else None
    while True:
        if step is not None:
            after = await _run_and_deliver(step, context)
            for event in _stream_events(run, after) if stream else ():
                yield event
            if after.pending_calls:
                yield RunEnding(after, response, "interrupted")
                return
            run = after
        parts = _request_response(run, response, context, stream=stream, once=once)
        async with aclosing(parts):
            async for part in parts:
                if isinstance(part, RunEnding):
                    ending = part
                else:
                    yield part
        if ending.status != _IN_PROGRESS:
            yield ending
            return
        run, response = ending.run, ending.response
        step = run_turn(run, response, context)


async def _request_response(
    run: Run, response: ModelResponse, context: RunContext, *, stream: bool, once: bool
) -> Parts:
    """Request the next response, or load it as an earlier resume stored it.

    The ending that comes last is in progress where the response has calls to run.
    """
    claim = await claim_continuation(run.run_id, run.turn_id, context.ports) if once else None
    if isinstance(claim, dict):
        yield _load_ending(claim, run)
        return
    with claim or nullcontext():
        request = _build_request(run, context.tools.definitions)
        try:
            if not stream:
                response = await context.api.respond(request)
            else:
                async with aclosing(context.api.stream(request)) as parts:
                    async for part in parts:
                        if isinstance(part, ModelResponse):
                            response = part
                        else:
                            yield part
        except ProviderResponseError as error:
            _attach_run(error, run, response, context)
            raise
        run = run.with_response(response, _make_turn_id(response, run))
        ending = RunEnding(run, response, _status_after(response, run, context))
    if claim is not None:
        await claim.finish(ending.to_json())
    yield ending


def _load_ending(fields: Json, run: Run) -> RunEnding:
    """Return a stored ending of a run, with the run's settings: the journal holds no keys."""
    ending = RunEnding.from_json(fields)
    return ending._replace(run=ending.run._replace(settings=run.settings))


def _attach_run(
    error: ProviderResponseError, run: Run, response: ModelResponse, context: RunContext
) -> None:
    """Give users what happened in the run until the error."""
    error.events = deepcopy(list(run.events))
    error.state = context.create_state(run)
    error.response = serialize_response(response) if response.id else None


async def run_to_end(parts: Parts) -> RunEnding:
    """Run until the run stops; return the ending."""
    async with aclosing(parts):
        async for part in parts:
            if isinstance(part, RunEnding):
                return part
    raise AssertionError("unreachable: a run has an ending, or raises")


async def run_with_approvals(
    run: Run,
    context: RunContext,
    ask: AskForApproval | None,
    build_response: Callable[[RunEnding], Json],
) -> tuple[RunEnding, Json]:
    """Run, and call the callback for every pending call, until none is pending or none answered.

    Returns the ending and the published adapter's `approval_loop`.
    """
    ending = await run_to_end(run_agent(run, context, stream=False))
    asked_calls: list[ToolCallState] = []
    while ending.status == "interrupted":
        calls = ending.run.pending_calls
        if ask is not None:
            calls = await ask_for_approvals(ending, context, ask, build_response)
        answers = {call.call_id: call for call in calls}
        earlier_calls = (call for call in asked_calls if call.call_id not in answers)
        asked_calls = [*earlier_calls, *calls]
        if not any(call.approval for call in calls):
            break
        answered_calls = [answers.get(call.call_id, call) for call in ending.run.calls]
        resumed_run = ending.run._replace(calls=answered_calls)
        parts = run_agent(resumed_run, context, stream=False, response=ending.response, once=True)
        ending = await run_to_end(parts)
        # An answer that does not count, as where several people have to approve, is not asked for
        # again: it would be the same.
        if refusals := {call.call_id: call for call in ending.run.pending_calls if call.is_refused}:
            asked_calls = [refusals.get(call.call_id, call) for call in asked_calls]
            break
    return ending, summarize_approvals(asked_calls, ending)


async def _run_and_deliver(step: Awaitable[Run], context: RunContext) -> Run:
    """Run a step and start the delivery of its reports, also when it is stopped."""
    try:
        run = await step
    except BaseException:
        context.ports.schedule_delivery()
        raise
    await context.ports.deliver(run.turn_id)
    return run


def _make_turn_id(response: ModelResponse, run: Run) -> str:
    # Some servers give their responses ids that come again, or none. Equal calls of two turns would
    # then be one call to the journal.
    is_unique = response.id is not None and str(response.id) not in {run.turn_id, *run.turn_ids}
    return str(response.id) if is_unique else f"{response.id}-{uuid4().hex}"


def _status_after(response: ModelResponse, run: Run, context: RunContext) -> str:
    if response.status in {"failed", "cancelled"}:
        return "failed"
    if not response.is_complete:
        return "incomplete"
    if response.tool_calls:
        return "max_rounds" if run.rounds >= context.max_rounds else _IN_PROGRESS
    if response.approval_requests:
        return _IN_PROGRESS
    return "refused" if response.refusal and not response.text else "completed"


def _stream_events(before: Run, after: Run) -> list[Json]:
    """Return the events of a step for the user's stream."""
    events: list[Json] = [
        {"type": "execution_event", "event": deepcopy(event), "response_id": after.turn_id}
        for event in after.events[len(before.events) :]
    ]
    return events + [
        {
            "type": "approval_required",
            "request_id": call.request_id,
            "event": deepcopy(call.event),
            "response_id": after.turn_id,
        }
        for call in after.pending_calls
    ]


# -- requests --------------------------------------------------------------------------------------

_RESERVED_ARGUMENTS = {
    "input": "pass messages=",
    "stream": "call run_stream",
    "background": "a run waits for each response",
}


def build_request_settings(
    model: str,
    instructions: str | None,
    temperature: float | None,
    extra: Mapping[str, Any] | None,
) -> Json:
    """Return what every request of a run holds.

    Raises:
        AdapterConfigurationError: `extra` holds an argument that the run sets itself.
    """
    extra = dict(extra or {})
    for name in extra.keys() & _RESERVED_ARGUMENTS.keys():
        raise AdapterConfigurationError(
            f"extra_create_args cannot hold {name!r}: {_RESERVED_ARGUMENTS[name]}"
        )
    arguments = {"model": model, "instructions": instructions, "temperature": temperature}
    settings = {**{name: value for name, value in arguments.items() if value is not None}, **extra}
    if "conversation" not in settings:
        settings.setdefault("store", False)
    return dict(replace_all_surrogates(settings))  # a request that holds one cannot be sent


def parse_messages(messages: Any) -> list[Json]:
    """Return the user's messages as input items: from a text, a message, or a list of items."""
    if messages is None:
        raise AdapterConfigurationError("pass messages=, or state= to resume a stopped run")
    if isinstance(messages, str):
        return [{"role": "user", "content": replace_surrogates(messages)}]
    items = to_items([messages] if isinstance(messages, Mapping) else messages)
    return [to_replayable(item) if isinstance(item, dict) else item for item in items]


def _build_request(run: Run, tools: Sequence[Json]) -> Json:
    """Return the next request.

    A conversation that the service stores is continued by its id; any other is sent again in full.
    """
    request = {**run.settings, "tools": [*tools, *(run.settings.get("tools") or ())]}
    if run.rounds and request.get("tool_choice") not in (None, "none", "auto"):
        request["tool_choice"] = _released_tool_choice(request["tool_choice"])
    if request.get("conversation"):
        return {**request, "input": list(run.new_items)}
    if request.get("store") and run.previous_response_id:
        previous = {"previous_response_id": run.previous_response_id}
        return {**request, "input": list(run.new_items), **previous}
    return {**request, "input": list(run.items)}


def _released_tool_choice(choice: Any) -> Any:
    """Return a choice that no longer forces a tool: forced in every round, a run never ends."""
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        return {**choice, "mode": "auto"}
    return "auto"
