"""Any client with the methods of BIGHUB's SDK, blocking or async, as an engine."""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from bighub_langgraph.core.errors import (
    EngineAuthError,
    EngineError,
    EngineRequestError,
    EngineUnavailable,
)
from bighub_langgraph.core.models import EvaluationRequest
from bighub_langgraph.core.ports import EnginePort, EvaluationItem
from bighub_langgraph.core.redaction import redact_exception

Call = Callable[..., Awaitable[Any]]


def build_engine(client: Any, call: Call, *, retries: int = 0, sleep: Any = None) -> EnginePort:
    """Put a client behind the engine's port.

    Args:
        client: A `BighubClient`, an `AsyncBighubClient`, the embedded one, or a look-alike.
        call: Calls one of its methods: in place, in a thread, on a loop.
        retries: Further tries after a fault that may pass. The SDK's clients try again by
            themselves, so there it is none.
        sleep: Waits between tries, in seconds.
    """
    ask = _Asking(client, call, 0 if retries_itself(client) else retries, sleep)
    batch = _method(client, "outcomes", "report_batch")
    return EnginePort(
        ask=ask.ask,
        resolve=ask.resolve,
        report=ask.report,
        report_batch=ask.report_batch if batch is not None else None,
        ingest=ask.ingest,
        immediate=bool(getattr(client, "immediate", False)),
        ask_together=ask.ask_together if ask.together is not None else None,
    )


def retries_itself(client: Any) -> bool:
    """Whether a client tries again by itself, as the SDK's do."""
    return isinstance(getattr(client, "max_retries", None), int)


class _Asking:
    """The engine's functions over one client. One text serves both colours: `call` awaits."""

    def __init__(self, client: Any, call: Call, retries: int, sleep: Any) -> None:
        self._client = client
        self._call = call
        self._retries = retries
        self._sleep = sleep
        self.together = _method(client, "decisions", "evaluate_together")

    async def ask(self, proposal: EvaluationRequest, key: str) -> Any:
        method, arguments = _evaluation(self._client, proposal)
        if method is None:
            raise EngineRequestError(
                "the client has none of BIGHUB's methods to evaluate this call"
            )
        return await self._made(method, idempotency_key=key, **arguments)

    async def ask_together(self, asked: Sequence[EvaluationItem]) -> list[Any]:
        calls = [
            {**_fields(proposal), "raw": True, "idempotency_key": key} for proposal, key in asked
        ]
        try:
            replies: Sequence[Any] = await self._made(self.together, calls)
        except EngineError as error:
            return [error] * len(calls)
        return [classify_error(one) if isinstance(one, Exception) else one for one in replies]

    async def resolve(self, body: Mapping[str, Any]) -> None:
        fields = {"resolution": body["resolution"], "comment": body["comment"]}
        resolve = _method(self._client, "approvals", "resolve")
        if resolve is None:
            return  # a client without a queue has nothing to resolve
        try:
            await self._made(resolve, request_id=body["request_id"], **fields)
        except EngineRequestError as error:
            if getattr(error.__cause__, "status_code", None) not in _NOTHING_TO_RESOLVE:
                raise

    async def report(self, body: Mapping[str, Any]) -> None:
        report = _method(self._client, "outcomes", "report")
        if report is None:
            raise EngineRequestError("the client has no outcomes.report, so no outcome can be told")
        await self._made(report, **body)

    async def report_batch(self, bodies: Sequence[Mapping[str, Any]]) -> None:
        reply = await self._made(self._client.outcomes.report_batch, list(map(dict, bodies)))
        failed = isinstance(reply, Mapping) and (reply.get("failed") or reply.get("errors"))
        if failed:
            # Sent again one by one; each carries its idempotency key.
            raise EngineRequestError(f"part of a batch of outcomes was not taken: {failed!r}")

    async def ingest(self, events: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> None:
        ingest = _method(self._client, "actions", "ingest_memory")
        if ingest is not None:  # a client without a memory has nothing to remember
            await self._made(ingest, events=list(events), **about)

    async def _made(self, method: Any, *args: Any, **fields: Any) -> Any:
        if "idempotency_key" in fields and not accepts_argument(method, "idempotency_key"):
            del fields["idempotency_key"]
        for left in range(self._retries, -1, -1):
            try:
                return await self._call(method, *args, **fields)
            except Exception as error:
                found = classify_error(error)
                if not isinstance(found, EngineUnavailable) or not left:
                    raise found from error
                await self._sleep(_WAIT * 2 ** (self._retries - left))
        raise AssertionError("unreachable: the last try returns or raises")


_WAIT = 0.25

# The queue does not know the request, or somebody settled it there before.
_NOTHING_TO_RESOLVE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.GONE})


def _evaluation(client: Any, proposal: EvaluationRequest) -> tuple[Any, dict[str, Any]]:
    """The method that evaluates, and what it takes."""
    fields = _fields(proposal)
    if proposal.whole:
        return _method(client, "actions", "submit_payload"), {"payload": fields}
    evaluate = _method(client, "decisions", "evaluate")
    if evaluate is not None:
        return evaluate, {**fields, "raw": True}
    return _method(client, "actions", "submit"), fields


def _fields(proposal: EvaluationRequest) -> dict[str, Any]:
    """What is said of a proposal."""
    fields: dict[str, Any] = {"action": proposal.action, "actor": proposal.actor}
    for name in ("value", "target", "domain"):
        if (said := getattr(proposal, name)) is not None:
            fields[name] = said
    fields["context"] = dict(proposal.context)
    return fields


def _method(client: Any, resource: str, name: str) -> Callable[..., Any] | None:
    """A method of one of the client's resources, if it has it."""
    method = getattr(getattr(client, resource, None), name, None)
    return method if callable(method) else None


def accepts_argument(method: Callable[..., Any], name: str) -> bool:
    """Whether a method takes an argument of this name."""
    return _accepts(getattr(method, "__func__", method), name)


@lru_cache(maxsize=256)
def _accepts(function: Callable[..., Any], name: str) -> bool:
    try:
        taken = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return True
    return any(one.name == name or one.kind is one.VAR_KEYWORD for one in taken)


def classify_error(error: Exception) -> EngineError:
    """Say whether BIGHUB is away, or refused what we asked.

    The SDK's exceptions tell by their class and status. Of clients that are not the SDK's, any
    exception means that they are away, but for `TypeError` and the like, which mean that we and
    they do not fit together.
    """
    if isinstance(error, EngineError):
        return error
    said = redact_exception(error)
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        if status in _KEY:
            return EngineAuthError(f"{said}; {_CHECK}")
        return EngineUnavailable(said) if _away(status) else EngineRequestError(said)
    if _is_named(error, "BighubAuthError"):
        return EngineAuthError(f"{said}; {_CHECK}")
    if isinstance(error, TypeError | AttributeError | ValueError | LookupError):
        return EngineRequestError(said)
    return EngineUnavailable(said)


_KEY = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_CHECK = "check BIGHUB_API_KEY and its rights"
_AWAY = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})


def _away(status: int) -> bool:
    return status in _AWAY or status >= HTTPStatus.INTERNAL_SERVER_ERROR


def _is_named(error: Exception, name: str) -> bool:
    # By name: looking the class up would import the SDK where a user brought a client of their own.
    return any(kind.__name__ == name for kind in type(error).__mro__)
