"""Fixtures and options that several test files share."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from bighub_langgraph import Journal
from tests import postgres
from tests.agents import Runner
from tests.cli_journal import FILE, create_journal
from tests.openai_server import ResponsesServer

# No deadline: the machine may be busy with other things.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kills",
        type=int,
        default=120,
        help="how often the fault suite kills a process, by kind of database, over all hosts",
    )


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    with postgres.a_server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of either kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'calls.db'}"
        return
    with postgres.database(request.getfixturevalue("postgres_server")) as url:
        yield url


@pytest.fixture
def server() -> Iterator[ResponsesServer]:
    """A server of OpenAI's Responses API."""
    with ResponsesServer() as server:
        yield server


@pytest.fixture(params=["blocking", "async"])
def client_kind(request: pytest.FixtureRequest) -> str:
    """A kind of client."""
    return str(request.param)


@pytest.fixture(params=["blocking", "async"])
def runner(request: pytest.FixtureRequest) -> Runner:
    """A way to run graphs."""
    return Runner(request.param)


@pytest.fixture
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment without the variables that name an engine or a journal."""
    for name in ("BIGHUB_API_KEY", "BIGHUB_BASE_URL", "BIGHUB_JOURNAL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def cli_journal(tmp_path: Path) -> Iterator[Journal]:
    """A journal with a call in each situation."""
    with closing(create_journal(tmp_path)) as journal:
        yield journal


@pytest.fixture
def journal_path(tmp_path: Path, cli_journal: Journal) -> Path:
    """The file of that journal."""
    del cli_journal
    return tmp_path / FILE
