"""The engine port over a client of BIGHUB's SDK, blocking or async, or over a look-alike."""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from http import HTTPStatus
from time import monotonic
from typing import Any

from bighub_langgraph.bighub.limits import shrink_reply
from bighub_langgraph.bighub.retries import classify_error, retry
from bighub_langgraph.core.errors import DeliveryUnconfirmed, EngineError, EngineRequestError
from bighub_langgraph.core.jsonable import digest
from bighub_langgraph.core.models import EvaluationRequest
from bighub_langgraph.core.ports import EnginePort, EvaluationItem

# The newest answers in BIGHUB's queue are read.
MAX_APPROVALS = 1000

CallMethod = Callable[..., Awaitable[Any]]
Method = Callable[..., Any]


class SdkEngine:
    """The functions of the engine port over one client, whose methods are looked up once.

    Args:
        client: A `BighubClient`, an `AsyncBighubClient`, the embedded one, or a look-alike.
        call: Calls one of its methods: inline, in a thread, or on a loop; takes the seconds that it
            may last first.
        retries: Further tries after a fault that may pass; clients of the SDK retry by themselves.
        sleep: Waits between tries, in seconds.
        evaluate_timeout: The seconds for all tries of one evaluation.
        breaker: Around each evaluation.
    """

    def __init__(
        self,
        client: Any,
        call: CallMethod,
        *,
        retries: int = 0,
        sleep: Callable[[float], Awaitable[None]] | None = None,
        evaluate_timeout: float | None = None,
        breaker: AbstractContextManager[Any] | None = None,
    ) -> None:
        self._evaluate_timeout = evaluate_timeout
        self._breaker = breaker or nullcontext()
        self._call = call
        self._in_process = getattr(client, "in_process", False) is True
        # A client of the user's own delivers by returning without an exception.
        self._is_confirmed = is_sdk_client(client)
        retries_itself = isinstance(getattr(client, "max_retries", None), int)
        self._retries = 0 if retries_itself else retries
        self._sleep = sleep
        self._evaluate = _find_method(client, "decisions", "evaluate")
        self._evaluate_together = _find_own_method(client, "decisions", "evaluate_together")
        self._submit = _find_method(client, "actions", "submit")
        self._submit_payload = _find_method(client, "actions", "submit_payload")
        self._resolve = _find_method(client, "approvals", "resolve")
        self._list = _find_method(client, "approvals", "list")
        self._review = _find_method(client, "reviews", "resolve")
        self._report = _find_method(client, "outcomes", "report")
        self._report_batch = _find_own_method(client, "outcomes", "report_batch")
        self._ingest = _find_method(client, "actions", "ingest_memory")
        # By name: a look-alike's method may be an object without a hash.
        self._takes_key = {
            name: method is not None and accepts_argument(method, "idempotency_key")
            for name, method in (
                ("evaluate", self._evaluate),
                ("submit", self._submit),
                ("submit_payload", self._submit_payload),
            )
        }

    def build_port(self) -> EnginePort:
        """Return the engine port over the client."""
        return EnginePort(
            evaluate=self._evaluate_request,
            resolve_approval=self._resolve_approval,
            report_outcome=self._report_outcome,
            report_outcomes=self._report_outcomes if self._report_batch else None,
            ingest_memory=self._ingest_memory,
            in_process=self._in_process,
            evaluate_batch=self._evaluate_batch if self._evaluate_together else None,
            list_approvals=self._list_approvals if self._list else None,
        )

    async def _evaluate_request(self, request: EvaluationRequest, key: str) -> Any:
        fields = _request_fields(request)
        arguments: dict[str, Any]
        if request.as_payload:
            name, method, arguments = "submit_payload", self._submit_payload, {"payload": fields}
        elif self._evaluate is not None:
            name, method, arguments = "evaluate", self._evaluate, {**fields, "raw": True}
        else:
            name, method, arguments = "submit", self._submit, fields
        if method is None:
            raise EngineRequestError(
                "the client has none of BIGHUB's methods to evaluate this call"
            )
        if self._takes_key[name]:
            arguments["idempotency_key"] = key
        with self._breaker:
            response = await retry(
                lambda seconds: self._evaluate_once(seconds, method, arguments),
                self._retries,
                self._sleep,
                self._evaluate_timeout,
            )
            return shrink_reply(response)

    async def _evaluate_once(
        self, seconds: float | None, method: Method, arguments: dict[str, Any]
    ) -> Any:
        started_at = monotonic()
        try:
            return await self._call(seconds, method, **arguments)
        except Exception as error:
            if not _is_about_key(error):
                raise
        # A process that ended before it recorded the decision sent something else under this key:
        # its settings differed, or a function of the tool's policy returns something new each time.
        arguments["idempotency_key"] = digest(arguments)
        remaining = None if seconds is None else seconds - (monotonic() - started_at)
        return await self._call(remaining, method, **arguments)

    async def _evaluate_batch(self, items: Sequence[EvaluationItem]) -> list[Any]:
        calls = [
            {**_request_fields(request), "raw": True, "idempotency_key": key}
            for request, key in items
        ]
        try:
            responses: Sequence[Any] = await self._send(self._evaluate_together, calls)
        except EngineError as error:
            return [error] * len(calls)
        return [
            await self._evaluate_again(item, response)
            if isinstance(response, Exception)
            else response
            for item, response in zip(items, responses, strict=True)
        ]

    async def _evaluate_again(self, item: EvaluationItem, error: Exception) -> Any:
        """Return what became of one item of a batch: its error, or the response to another try."""
        if not _is_about_key(error):
            return classify_error(error)
        try:
            return await self._evaluate_request(*item)
        except EngineError as again:
            return again

    async def _resolve_approval(self, body: Mapping[str, Any]) -> None:
        method, fields = self._resolve, dict(body)
        if body["resolution"] == "modified":  # an edit, which is neither a yes nor a no
            method = self._review
            fields = {"decision": fields.pop("resolution"), "reason": fields.pop("comment")}
            fields |= {"request_id": body["request_id"], "modified_action": body["action"]}
        if method is None:
            return  # a client without an approval queue has nothing to resolve
        try:
            await self._deliver(1, method, **fields)
        except EngineRequestError as error:
            if getattr(error.__cause__, "status_code", None) not in _NOTHING_TO_RESOLVE:
                raise

    async def _list_approvals(self, status: str) -> Any:
        return await self._send(self._list, status_filter=status, limit=MAX_APPROVALS)

    async def _report_outcome(self, body: Mapping[str, Any]) -> None:
        if self._report is None:
            raise EngineRequestError(
                "the client has no outcomes.report, so no outcome can be reported"
            )
        await self._deliver(1, self._report, **body)

    async def _report_outcomes(self, bodies: Sequence[Mapping[str, Any]]) -> None:
        response = await self._deliver(len(bodies), self._report_batch, list(map(dict, bodies)))
        failures = isinstance(response, Mapping) and (
            response.get("failed") or response.get("errors")
        )
        if failures:
            # They are sent again one by one; each carries its idempotency key.
            raise EngineRequestError(f"part of a batch of outcomes was refused: {failures!r}")

    async def _ingest_memory(
        self, events: Sequence[Mapping[str, Any]], about: Mapping[str, Any]
    ) -> None:
        if self._ingest is not None:  # a client without a memory has nothing to store
            await self._deliver(len(events), self._ingest, events=list(events), **about)

    async def _deliver(self, reports: int, method: Any, *args: Any, **fields: Any) -> Any:
        reply = await self._send(method, *args, **fields)
        if self._is_confirmed:
            check_confirmation(reply, reports)
        return reply

    async def _send(self, method: Any, *args: Any, **fields: Any) -> Any:
        return await retry(
            lambda seconds: self._call(seconds, method, *args, **fields), self._retries, self._sleep
        )


# The queue does not know the request, or it was resolved there before.
_NOTHING_TO_RESOLVE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.GONE})


def _is_about_key(error: Exception) -> bool:
    """Whether BIGHUB refused a request for its idempotency key, which had another body before."""
    # The SDK's exception shows the details in its `repr` only.
    is_refused = getattr(error, "status_code", None) in _REFUSED_KEY
    return is_refused and "idempotency" in repr(error).lower()


_REFUSED_KEY = frozenset(
    {HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY}
)


def _request_fields(request: EvaluationRequest) -> dict[str, Any]:
    fields: dict[str, Any] = {"action": request.action, "actor": request.actor}
    for name in ("value", "target", "domain"):
        if (value := getattr(request, name)) is not None:
            fields[name] = value
    fields["context"] = dict(request.context)
    return fields


def _find_method(client: Any, resource: str, name: str) -> Method | None:
    """Return a method of one of the client's resources, if the client has it."""
    method = getattr(getattr(client, resource, None), name, None)
    return method if callable(method) else None


def _find_own_method(client: Any, resource: str, name: str) -> Method | None:
    """Return a method that the resource really has: a mock or a proxy makes one up for any name."""
    owner = getattr(client, resource, None)
    is_own = inspect.getattr_static(owner, name, None) is not None
    return _find_method(client, resource, name) if is_own else None


def accepts_argument(method: Method, name: str) -> bool:
    """Whether a method takes an argument of this name."""
    try:
        parameters = inspect.signature(method).parameters.values()
    except (TypeError, ValueError):
        return True
    return any(
        parameter.name == name or parameter.kind is parameter.VAR_KEYWORD
        for parameter in parameters
    )


# -- confirmations ---------------------------------------------------------------------------------


def is_sdk_client(client: object) -> bool:
    """Whether a client is one of BIGHUB's SDK, or derived from one.

    The SDK returns `{}` for a page of HTML, an empty body or cut JSON with a status of success.
    """
    return any(kind.__module__.partition(".")[0] == "bighub" for kind in type(client).__mro__)


def check_confirmation(reply: Any, reports: int = 1) -> None:
    """Check that a reply is an object that confirms a report, or each report of a batch.

    Raises:
        DeliveryUnconfirmed: The reply says nothing, as that of a maintenance page.
        EngineRequestError: It names an error, of one report or of the whole batch.
    """
    if not isinstance(reply, Mapping) or not reply:
        raise DeliveryUnconfirmed(f"BIGHUB's reply does not confirm a report: {reply!r:.80}")
    lists = [reply[name] for name in _ITEMS if isinstance(reply.get(name), list)]
    for part in (reply, *(item for items in lists for item in items if isinstance(item, Mapping))):
        if errors := [part[name] for name in _ERRORS if part.get(name)]:
            raise EngineRequestError(f"BIGHUB refused a report: {errors!r:.200}")
        if any(part.get(name) is False for name in _SUCCESS):
            raise EngineRequestError(f"BIGHUB refused a report: {dict(part)!r:.200}")
    if any(type(reply.get(name)) is int and reply[name] < reports for name in _COUNTS):
        raise EngineRequestError(f"BIGHUB took only a part of {reports} reports: {reply!r:.200}")


_ERRORS = ("error", "errors", "failed")
_SUCCESS = ("success", "ok", "accepted")
_ITEMS = ("results", "outcomes", "items")
_COUNTS = ("accepted", "reported")
