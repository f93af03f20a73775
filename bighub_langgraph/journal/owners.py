"""Which process runs a call, and whether that process is still there."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4


def this_process() -> str:
    """A name for this process that no other has: where it runs, its number, and chance."""
    return f"{_namespace()}:{os.getpid()}:{uuid4().hex[:12]}"


def process_of(owner: str | None) -> str:
    """The process of an attempt: an attempt's name is its process's, a slash and a number."""
    return (owner or "").partition("/")[0]


def surely_gone(owner: str) -> bool:
    """Whether a process is known to be gone without asking anybody: it ran here, and is no more."""
    where, _, rest = owner.partition(":")
    number = rest.partition(":")[0]
    if not where or where != _namespace() or not number.isdigit():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _namespace() -> str:
    """This machine since its last start, and the process numbers we see in it; "" if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot[:13]}-{os.readlink('/proc/self/ns/pid')[5:-1]}"  # noqa: PTH115 - not a file
    except OSError:
        return ""


class Heartbeat:
    """Says every few seconds that this process is alive, from the first claim on."""

    def __init__(self, beat: Callable[[], None], every: float) -> None:
        self._beat = beat
        self._every = every
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Beat once now, then from a thread; again after a fork, which threads do not survive."""
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return
            self._beat()
            self._thread = threading.Thread(target=self._go_on, name="bighub-beat", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop beating."""
        self._stopped.set()

    def _go_on(self) -> None:
        while not self._stopped.wait(self._every):
            self._beat()
