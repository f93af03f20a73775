"""One event loop in a thread, for async clients and coroutine tools on the blocking side."""

import asyncio
import os
import threading
from collections.abc import Coroutine
from functools import lru_cache
from typing import Any, TypeVar

from bighub_langgraph.core.errors import ConfigurationError

T = TypeVar("T")


class BackgroundLoop:
    """An event loop that runs in a daemon thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="bighub-loop")
        self._thread.daemon = True
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there and wait for what it returns."""
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise ConfigurationError(
                "a coroutine tool of a blocking client cannot call a blocking client itself: it "
                "would wait for the loop it runs on; make the tool a plain function"
            )
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


def background_loop() -> BackgroundLoop:
    """The process's background loop; a forked child gets one of its own."""
    return _loop_of(os.getpid())


@lru_cache(maxsize=1)
def _loop_of(_: int) -> BackgroundLoop:
    return BackgroundLoop()
