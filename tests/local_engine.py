"""What the tests of the embedded engine share: a settable clock, signals, and example calls."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from bighub_langgraph.local import DomainSettings, LocalBighub, Settings

DAY = 86_400.0


@dataclass
class Clock:
    """A clock that can be set, and advances by a step at each call."""

    now: float = 1_700_000_000.0
    step: float = field(default=1.0)

    def __call__(self) -> float:
        self.now += self.step
        return self.now


_HERE = {"call", "c_return"}


class Signal:
    """A signal whose handler raises at the `number`th call in a part: there Python looks for one.

    It raises as a function of the part begins, or after it has called one written in C.
    """

    def __init__(self, part: str, number: int) -> None:
        self.part, self.remaining = part, number

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        if event in _HERE and self.part in frame.f_code.co_filename:
            self.remaining -= 1
            if not self.remaining:
                sys.setprofile(None)
                raise KeyboardInterrupt

    @contextmanager
    def comes(self) -> Iterator[None]:
        before = sys.getprofile()
        gc.disable()  # it would close what other tests left, and the signal would fall in there
        sys.setprofile(self)
        try:
            yield
        finally:
            sys.setprofile(before)
            gc.enable()


@contextmanager
def engine(
    url: str = "sqlite://", *, clock: Clock | None = None, **domain: Any
) -> Iterator[LocalBighub]:
    """An embedded engine whose default domain has these settings."""
    settings = Settings(default=DomainSettings(**domain))
    client = LocalBighub(url, settings=settings, clock=clock or Clock())
    try:
        yield client
    finally:
        client.close()


def refund(client: LocalBighub, number: int = 0, **changed: Any) -> dict[str, Any]:
    """One decision about a refund; the numbers vary a little, as real ones do."""
    request: dict[str, Any] = {
        "action": "refund",
        "value": 20.0 + number % 7,
        "target": f"order-{number}",
        "actor": "support-agent",
        "domain": "shop",
        "context": {"arguments": {"amount": 20 + number % 7, "reason": "damaged"}},
    }
    return dict(client.actions.evaluate(**{**request, **changed}))


def live(client: LocalBighub, times: int, status: str = "SUCCESS", **changed: Any) -> list[str]:
    """Decide and report the same outcome some times over."""
    requests = []
    for number in range(times):
        request_id = refund(client, number, **changed)["request_id"]
        client.outcomes.report(request_id=request_id, status=status)
        requests.append(request_id)
    return requests
