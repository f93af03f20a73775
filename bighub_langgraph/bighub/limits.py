"""Limits of what BIGHUB may cost: time for a decision, requests while it is down, sizes."""

import contextvars
import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import aclosing, closing, suppress
from functools import partial
from time import monotonic
from typing import Any, TypeVar

from bighub_langgraph.circuit_breaker import CircuitBreaker
from bighub_langgraph.core.errors import EngineRequestError, EngineUnavailable
from bighub_langgraph.core.jsonable import MAPPING, truncate
from bighub_langgraph.telemetry_spans import trace_headers

T = TypeVar("T")
Json = dict[str, Any]

EVALUATE_TIMEOUT = 10.0  # seconds for one evaluation, with all its tries
REQUEST_TIMEOUT = 10.0  # seconds for one reply to a client that we open
MAX_READ = 2**20  # bytes of one reply to such a client
MAX_STORED = 2**16  # characters of a decision as it is stored
_MAX_TEXT = 2_000  # characters of a text in a decision that is too large


class EngineBreaker(CircuitBreaker):
    """Stops evaluations after three in a row failed, and tests BIGHUB every ten seconds."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        super().__init__(3, 10.0, clock)

    def counts(self, error: BaseException) -> bool:
        """Whether BIGHUB was unreachable."""
        return isinstance(error, EngineUnavailable)

    def make_error(self) -> EngineUnavailable:
        """Return the error for an evaluation that is not sent."""
        return EngineUnavailable(
            f"the last {self.max_failures} evaluations failed; "
            f"BIGHUB is tried again every {self.reset_seconds:g} seconds"
        )


def start_abandonable(function: Callable[..., T], *args: Any, **fields: Any) -> "Future[T]":
    """Start a function in a daemon thread that nobody has to wait for."""
    future: Future[T] = Future()
    context = contextvars.copy_context()

    def run() -> None:
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(context.run(partial(function, *args, **fields)))
            except BaseException as error:  # noqa: BLE001 - raised where the result is awaited
                future.set_exception(error)

    try:
        threading.Thread(target=run, name="bighub-request", daemon=True).start()
    except RuntimeError:  # the interpreter is ending, or the system has no more threads
        run()
    return future


# -- sizes -----------------------------------------------------------------------------------------


def shrink_reply(reply: Any) -> Any:
    """Return a decision that can be stored: large members are cut or left out."""
    import pydantic_core  # late: code that only imports the package has no reply yet

    if not isinstance(reply, MAPPING):
        return reply
    # A byte of this text is at most 6 characters in the text that is stored. Measuring every reply
    # by that text is felt in `benchmarks/facade`.
    with suppress(ValueError):  # half surrogates
        if 6 * len(pydantic_core.to_json(reply)) <= MAX_STORED:
            return reply
    with suppress(TypeError, ValueError, RecursionError):  # no JSON: parsing refuses it
        if (size := len(json.dumps(reply))) <= MAX_STORED:
            return reply
        reply = _shrink(dict(reply), size - MAX_STORED + 1_000)
        if len(json.dumps(reply)) > MAX_STORED:
            raise EngineRequestError(f"BIGHUB's reply has {size} characters, too many to store")
    return reply


def _shrink(members: Json, surplus: int) -> Json:
    """Return members that are shorter by so many characters, and how many were left out."""
    sizes = {name: len(json.dumps({name: member})) for name, member in members.items()}
    left_out = 0
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        member = members[name]
        if surplus <= 0 or name == "request_id":
            continue
        if isinstance(member, str) and len(member) > _MAX_TEXT:
            members[name] = truncate(member, _MAX_TEXT)
        elif name == "decision_intelligence" and isinstance(member, dict):
            members[name] = _shrink(dict(member), surplus)
        else:
            del members[name]
            left_out += 1
        surplus -= sizes[name] - len(json.dumps({name: members.get(name)}))
    return {**members, "left_out": left_out} if left_out else members


def build_limited_clients() -> tuple[Any, Any]:
    """Return a blocking and an async client of httpx that refuse large and endless replies."""
    import httpx  # the SDK's own requirement; slow to import

    def check_limits(content: bytearray, deadline: float, request: Any) -> None:
        if monotonic() > deadline:
            raise httpx.ReadTimeout("the reply does not end", request=request)
        if len(content) > MAX_READ:
            raise EngineRequestError(f"BIGHUB's reply is larger than {MAX_READ} bytes")

    def build_response(response: Any, content: bytearray) -> Any:
        # The content is decoded by now.
        headers = [
            (name, value)
            for name, value in response.headers.multi_items()
            if name.lower() not in {"content-encoding", "content-length", "transfer-encoding"}
        ]
        return httpx.Response(
            response.status_code, headers=headers, content=bytes(content), request=response.request
        )

    class Client(httpx.Client):
        def send(self, request: Any, **options: Any) -> Any:
            request.headers.update(trace_headers())
            deadline, content = monotonic() + REQUEST_TIMEOUT, bytearray()
            response = super().send(request, **{**options, "stream": True})
            with closing(response):
                for chunk in response.iter_bytes():
                    content += chunk
                    check_limits(content, deadline, request)
            return build_response(response, content)

    class AsyncClient(httpx.AsyncClient):
        async def send(self, request: Any, **options: Any) -> Any:
            request.headers.update(trace_headers())
            deadline, content = monotonic() + REQUEST_TIMEOUT, bytearray()
            response = await super().send(request, **{**options, "stream": True})
            async with aclosing(response):
                async for chunk in response.aiter_bytes():
                    content += chunk
                    check_limits(content, deadline, request)
            return build_response(response, content)

    return Client(timeout=REQUEST_TIMEOUT), AsyncClient(timeout=REQUEST_TIMEOUT)
