"""Which process runs a call, and whether that process is still there."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4


class ThisProcess:
    """The name of the running process, that no other has or had; a forked child gets a new one.

    It says where the process runs, its number there, when it started, and chance.
    """

    def __init__(self) -> None:
        self._chance = uuid4().hex[:12]
        self._known = ("", 0)

    @property
    def name(self) -> str:
        """The name."""
        name, known = self._known
        if known != (pid := os.getpid()):
            # Threads that come here at once find the same name.
            name = f"{_namespace()}:{pid}:{_started(pid) or ''}:{self._chance}"
            self._known = (name, pid)
        return name


def process_of(owner: str | None) -> str:
    """The process of an attempt: an attempt's name is its process's, a slash and a number."""
    return (owner or "").partition("/")[0]


def presence(process: str) -> bool | None:
    """Whether a process is there; None where that cannot be seen from here.

    Its number alone proves nothing: numbers come again, in a restarted container at once. A process
    that has ended and that nobody has waited for is gone, too.
    """
    where, _, rest = process.partition(":")
    number, _, rest = rest.partition(":")
    started = rest.partition(":")[0]
    if not where or where != _namespace() or not number.isdigit() or not started:
        return None
    found = _started(int(number))
    if found is None:
        return None if _listed(int(number)) else False
    return found == started


def _namespace() -> str:
    """This machine since its last start, and the process numbers we see in it; "" if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot[:13]}-{os.readlink('/proc/self/ns/pid')[5:-1]}"  # noqa: PTH115 - not a file
    except OSError:
        return ""


# Fields of /proc/<pid>/stat behind the program's name, which may hold blanks and parentheses.
_STATE, _STARTED = 0, 19
_ENDED = {"Z", "X", "x"}


def _started(pid: int) -> str | None:
    """When a process started, in ticks since the machine did; "" once it ended, None if unknown."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return "" if fields[_STATE] in _ENDED else fields[_STARTED]


def _listed(pid: int) -> bool:
    """Whether there is a process of this number, though we may not look at it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class Heartbeat:
    """Calls a function again and again from a daemon thread.

    Args:
        beat: Returns after how many seconds it wants to be called again; None to end the thread.
    """

    def __init__(self, beat: Callable[[], float | None]) -> None:
        self._beat = beat
        self._wake = threading.Event()
        self._stopped = False
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def start(self, after: float) -> None:
        """Beat from now on, for the first time in some seconds."""
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return
            self._thread = threading.Thread(
                target=self._go_on, args=(after,), name="bighub-beat", daemon=True
            )
            self._thread.start()

    def beat_now(self) -> None:
        """Beat as soon as possible."""
        self._wake.set()

    def stop(self) -> None:
        """Stop beating."""
        self._stopped = True
        self._wake.set()

    def _go_on(self, pause: float | None) -> None:
        while pause is not None:
            self._wake.wait(pause)
            self._wake.clear()
            if self._stopped:
                return
            pause = self._beat()
