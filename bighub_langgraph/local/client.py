"""Drop-in clients: the `bighub` SDK over an engine in this process."""

import time
from collections.abc import Callable
from typing import Any, Self

from bighub import AsyncBighubClient, BighubClient

from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.settings import Settings
from bighub_langgraph.local.transport import AsyncLocalTransport, LocalTransport

_NOWHERE = "https://embedded.invalid"


class LocalBighub(BighubClient):
    """A `BighubClient` that decides and learns in this process.

    `url` is a database: `sqlite://` for memory, `sqlite:///file.db`, or `postgresql+psycopg://...`.
    Clients that are given the same `engine` share what it knows.
    """

    def __init__(
        self,
        url: str = "sqlite://",
        *,
        settings: Settings | None = None,
        clock: Callable[[], float] = time.time,
        engine: Engine | None = None,
    ) -> None:
        super().__init__(base_url=_NOWHERE)
        self._transport.close()
        self.engine = engine or Engine(url, settings=settings, clock=clock)
        self.url = url
        # In memory it answers within microseconds, so whoever tells it things need not wait.
        self.immediate = url == "sqlite://"
        _hang_in(self, LocalTransport(self.engine, closes_engine=engine is None))

    def __enter__(self) -> Self:
        return self

    def __repr__(self) -> str:
        return f"LocalBighub({self.url!r})"


class AsyncLocalBighub(AsyncBighubClient):
    """An `AsyncBighubClient` that decides and learns in this process; see `LocalBighub`."""

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
        # In memory it answers within microseconds, so whoever tells it things need not wait.
        self.immediate = url == "sqlite://"
        _hang_in(self, AsyncLocalTransport(self.engine, closes_engine=engine is None))

    async def __aenter__(self) -> Self:
        return self

    def __repr__(self) -> str:
        return f"AsyncLocalBighub({self.url!r})"


def _hang_in(client: Any, transport: LocalTransport | AsyncLocalTransport) -> None:
    """Give the SDK's resources our transport, those of later SDKs too."""
    for part in (client, *vars(client).values()):
        if "_transport" in getattr(part, "__dict__", {}):
            part._transport = transport  # noqa: SLF001 - the SDK's only seam
