"""Drop-in clients: the `bighub` SDK over an engine in this process."""

import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Self

from bighub import AsyncBighubClient, BighubClient
from bighub.decisions import AsyncDecisionsAPI, DecisionsAPI

from bighub_langgraph.local.deciding import session_of
from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.settings import Settings
from bighub_langgraph.local.transport import AsyncLocalTransport, LocalTransport

_NOWHERE = "https://embedded.invalid"


class Decisions(DecisionsAPI):
    """The SDK's decisions, and several of them at once."""

    def __init__(self, transport: LocalTransport, *, reviews: Any, outcomes: Any) -> None:
        super().__init__(transport, reviews=reviews, outcomes=outcomes)
        self._local = transport

    def evaluate_together(self, calls: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Evaluate calls, each given by what `evaluate` takes, in order and with one commit.

        Each is decided as if it had been asked alone after those before it. In the place of a
        reply stands what `evaluate` would have raised.
        """
        return self._local.together(
            [partial(self.evaluate, **call) for call in calls],
            of_several_sessions=_of_several_sessions(calls),
        )


class AsyncDecisions(AsyncDecisionsAPI):
    """The SDK's decisions, and several of them at once."""

    def __init__(self, transport: AsyncLocalTransport, *, reviews: Any, outcomes: Any) -> None:
        super().__init__(transport, reviews=reviews, outcomes=outcomes)
        self._local = transport

    async def evaluate_together(self, calls: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Evaluate calls in order and with one commit; see `Decisions.evaluate_together`."""
        evaluate = DecisionsAPI(self._local.blocking).evaluate
        return await self._local.together(
            [partial(evaluate, **call) for call in calls],
            of_several_sessions=_of_several_sessions(calls),
        )


class LocalBighub(BighubClient):
    """A `BighubClient` that decides and learns in this process.

    `url` is a database: `sqlite://` for memory, `sqlite:///file.db`, or `postgresql+psycopg://...`.
    Clients that are given the same `engine` share what it knows.
    """

    decisions: Decisions

    def __init__(
        self,
        url: str = "sqlite://",
        *,
        settings: Settings | None = None,
        clock: Callable[[], float] = time.time,
        engine: Engine | None = None,
    ) -> None:
        super().__init__(base_url=_NOWHERE)
        super().close()  # the connections of a remote client
        self.engine = engine or Engine(url, settings=settings, clock=clock)
        self.url = url
        # In memory it answers at once: whoever tells it things need not wait, and coroutines ask it
        # in place.
        self.in_process = self.never_waits = self.engine.store.in_memory
        self._local = LocalTransport(self.engine, closes_engine=engine is None)
        _connect(self, self._local)
        self.decisions = Decisions(self._local, reviews=self.reviews, outcomes=self.outcomes)

    def close(self) -> None:
        """Close the engine, unless it was given."""
        self._local.close()

    def __enter__(self) -> Self:
        return self

    def __repr__(self) -> str:
        return f"LocalBighub({self.url!r})"


class AsyncLocalBighub(AsyncBighubClient):
    """An `AsyncBighubClient` that decides and learns in this process; see `LocalBighub`."""

    decisions: AsyncDecisions

    def __init__(
        self,
        url: str = "sqlite://",
        *,
        settings: Settings | None = None,
        clock: Callable[[], float] = time.time,
        engine: Engine | None = None,
    ) -> None:
        super().__init__(base_url=_NOWHERE)
        self.engine = engine or Engine(url, settings=settings, clock=clock)
        self.url = url
        # In memory it answers at once, so whoever tells it things need not wait.
        self.in_process = self.engine.store.in_memory
        self._local = AsyncLocalTransport(self.engine, closes_engine=engine is None)
        _connect(self, self._local)
        self.decisions = AsyncDecisions(self._local, reviews=self.reviews, outcomes=self.outcomes)

    async def close(self) -> None:
        """Close the engine, unless it was given."""
        await self._local.close()

    async def __aenter__(self) -> Self:
        return self

    def __repr__(self) -> str:
        return f"AsyncLocalBighub({self.url!r})"


def _of_several_sessions(calls: Sequence[Mapping[str, Any]]) -> bool:
    contexts = [call.get("context") for call in calls]
    return len({session_of(each) for each in contexts if isinstance(each, Mapping)}) > 1


def _connect(client: Any, transport: LocalTransport | AsyncLocalTransport) -> None:
    """Make each of the client's resources anew over our transport, those of later SDKs too.

    One that cannot be made this way reaches nothing: the client's own address does not exist.
    """
    for name, part in list(vars(client).items()):
        if name != "decisions" and _takes_only_a_transport(type(part)):
            setattr(client, name, type(part)(transport))


def _takes_only_a_transport(kind: type[Any]) -> bool:
    try:
        return list(inspect.signature(kind).parameters) == ["transport"]
    except ValueError:  # a built-in type without a signature
        return False
