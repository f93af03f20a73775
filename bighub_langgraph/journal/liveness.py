"""Which process runs a call, and whether that process is still alive."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4
from weakref import WeakMethod

import psutil


class ProcessIdentity:
    """The unique name of the running process; a forked child gets a new one.

    It consists of the machine and its process numbers, the process's number there, its start
    time and a random part.
    """

    def __init__(self) -> None:
        self._random = uuid4().hex[:12]
        self._cached_name = ("", 0)

    @property
    def name(self) -> str:
        """The name."""
        name, cached_pid = self._cached_name
        if cached_pid != (pid := os.getpid()):
            # Threads that come here at once compute the same name.
            name = f"{_namespace()}:{pid}:{_start_time(pid) or ''}:{self._random}"
            self._cached_name = (name, pid)
        return name


def process_of(owner: str | None) -> str:
    """Return the process of an attempt, whose name is the process's, a slash and a suffix."""
    return (owner or "").partition("/")[0]


def is_alive(process: str) -> bool | None:
    """Return whether a process is alive; None where that cannot be seen from here.

    Its number alone proves nothing, since numbers are reused: in a restarted container at once.
    A process that has ended and that nobody has waited for (a zombie) is not alive.
    """
    namespace, _, rest = process.partition(":")
    number, _, rest = rest.partition(":")
    start_time = rest.partition(":")[0]
    if not namespace or namespace != _namespace() or not number.isdigit() or not start_time:
        return None
    current = _start_time(int(number))
    if current is None:
        return None if _exists(int(number)) else False
    return current == start_time


def is_of_earlier_boot(process: str) -> bool:
    """Whether a process of this machine ran before the machine was started last."""
    namespace, own = process.partition(":")[0], _namespace()
    return bool(namespace and own) and namespace.rpartition("-")[0] != own.rpartition("-")[0]


def _namespace() -> str:
    """Identify this machine since its last start and its process numbers; "" if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot[:13]}-{os.readlink('/proc/self/ns/pid')[5:-1]}"  # noqa: PTH115 - not a file
    except OSError:
        return ""


def _start_time(pid: int) -> str | None:
    """Return when a process started, "" once it has ended, None if unknown.

    The unit is a hundredth of a second since the machine started: the wall clock may be set. If it
    is set while we look, the difference means nothing: a live process must not seem to be another.
    """
    try:
        for _ in range(3):
            boot_time = psutil.boot_time()
            process = psutil.Process(pid)
            if process.status() in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}:
                return ""
            start_time = f"{(process.create_time() - boot_time) * 100:.0f}"
            if psutil.boot_time() == boot_time:
                return start_time
    except (psutil.Error, OSError):
        return None
    return None


def _exists(pid: int) -> bool:
    """Return whether a process with this number exists, even if it is hidden from us."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class Heartbeat:
    """Calls a method every `interval` seconds from a daemon thread, from `start` to `stop`.

    The thread ends with the method's object.
    """

    def __init__(self, beat: "WeakMethod[Callable[[], None]]", interval: float) -> None:
        self._beat = beat
        self._interval = interval
        self._stop_event = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the thread, if it is not running."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="bighub-beat", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Make no further calls."""
        self._stop_event.set()

    def _run(self) -> None:
        while not self._stop_event.wait(self._interval):
            if (beat := self._beat()) is None:
                return
            beat()
            del beat  # it would keep the object alive during the pause
