"""From a request to an answer, the same for the in-process transport and for the HTTP server."""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from bighub_langgraph.local.checking import Body
from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.faults import Refused, invalid
from bighub_langgraph.local.idempotency import once

log = logging.getLogger(__name__)
READ, DECIDE, CONTROL = "read", "decide", "control"  # what a key may do
_LONGEST_WORD = 500
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Request(NamedTuple):
    """A request as it came in; `names` are the parts of its path."""

    method: str
    path: str
    query: Mapping[str, Any] = _NOTHING
    body: Any = None
    idempotency_key: str | None = None
    names: Mapping[str, str] = _NOTHING

    def number(self, name: str, *, default: int, least: int = 0, most: int = 1_000) -> int:
        """A whole number of the query."""
        given = self.query.get(name)
        if given is None:
            return default
        text = str(given)
        if not re.fullmatch(r"-?[0-9]{1,12}", text) or not least <= int(text) <= most:
            raise invalid(f"query.{name}", f"a whole number from {least} to {most}")
        return int(text)

    def share(self, name: str) -> float | None:
        """A number between 0 and 1 of the query."""
        given = self.query.get(name)
        if given is None:
            return None
        try:
            share = float(given)
        except (TypeError, ValueError):
            share = -1.0
        if not 0 <= share <= 1:
            raise invalid(f"query.{name}", "a number from 0 to 1")
        return share

    def word(self, name: str) -> str | None:
        """A word of the query."""
        given = self.query.get(name)
        if given is None:
            return None
        text = str(given)
        if not 0 < len(text) <= _LONGEST_WORD or not text.isprintable():
            raise invalid(f"query.{name}", f"1 to {_LONGEST_WORD} printable characters")
        return text

    def flag(self, name: str) -> bool | None:
        """A yes or no of the query."""
        given = self.query.get(name)
        if given is None:
            return None
        known = {"true": True, "1": True, "false": False, "0": False}
        if (word := str(given).lower()) not in known:
            raise invalid(f"query.{name}", "true or false")
        return known[word]


class Answer(NamedTuple):
    """A status and a JSON body."""

    status: int
    body: Any


@dataclass(frozen=True, slots=True)
class Route:
    """What answers a method and a path; `keeps_key` says that its call minds the key itself."""

    method: str
    path: str
    scope: str
    call: Callable[[Engine, Request], Any]
    body: type[Body] | None = None
    query: tuple[str, ...] = ()
    keeps_key: bool = False

    @property
    def pattern(self) -> re.Pattern[str]:
        """The path as a pattern with its named parts."""
        return re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", self.path))


class Router:
    """Finds what answers a request. What is not there says so in a sentence."""

    def __init__(self, routes: list[Route]) -> None:
        self.routes = routes
        self._fixed = {(each.method, each.path): each for each in routes if "{" not in each.path}
        self._named = [(each, each.pattern) for each in routes if "{" in each.path]

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route of a path and the names in it; 501 when there is none."""
        known = self._fixed.get((method, path))
        if known is not None:
            return known, {}
        for route, pattern in self._named:
            if route.method == method and (match := pattern.fullmatch(path)):
                return route, match.groupdict()
        raise Refused(501, f"the embedded engine does not offer {method} {path}")

    def answer(self, engine: Engine, request: Request) -> Answer:
        """Answer a request; a refusal is an answer too."""
        try:
            route, names = self.find(request.method, request.path)
        except Refused as refusal:
            return Answer(refusal.status, {"detail": refusal.detail})
        return answered(engine, route, request._replace(names=names) if names else request)


def answered(engine: Engine, route: Route, request: Request) -> Answer:
    """What a route answers; a refusal is an answer too."""
    try:
        if request.idempotency_key is None or route.scope == READ or route.keeps_key:
            return Answer(200, route.call(engine, request))
        asked = (request.method, request.path, dict(request.query), request.body)
        change = partial(route.call, engine, request)
        return Answer(200, once(engine, request.idempotency_key, asked, change))
    except Refused as refusal:
        return Answer(refusal.status, {"detail": refusal.detail})
    except engine.store.faults as fault:
        return store_failed(f"{route.method} {route.path}", fault)


def store_failed(what: str, fault: Exception) -> Answer:
    """What is answered when the store fails; the transaction is undone."""
    # What the driver says may quote arguments, so it is not logged.
    log.error("%s: the store failed: %s", what, type(fault).__name__)
    return Answer(503, {"detail": "the engine's store cannot be used at the moment"})
