"""PostgreSQL restarts as in a power cut while agents work: nothing runs twice or is lost."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import postgres
from tests.faults.hosts import prepare, work
from tests.faults.killing import LONGEST, forkserver
from tests.faults.office import Office
from tests.faults.test_faults_kills import (
    SEED,
    check_ends,
    check_history,
    check_starts,
    check_threads,
    every_host,
)
from tests.postgres import Postgres

KILLS_PER_RESTART = 100


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres.server() as started:
        yield started


@every_host
def test_the_database_restarts_while_agents_work(
    tmp_path: Path, server: Postgres, request: pytest.FixtureRequest, host: str, mode: str
) -> None:
    restarts = max(1, request.config.getoption("--kills") // KILLS_PER_RESTART)
    chance = random.Random(SEED)
    threads: list[str] = []
    with postgres.database(server.url) as database:
        office = Office(tmp_path, database, host, mode)
        prepare(office)
        for _ in range(restarts):
            working = [f"thread-{len(threads) + number}" for number in range(3)]
            threads += working
            processes = [forkserver.Process(target=work, args=(office, [name])) for name in working]
            for process in processes:
                process.start()
            processes[0].join(chance.uniform(0.05, 0.6))
            server.stop()
            server.start()
            for process in processes:  # they may end with an error, but they end
                process.join(LONGEST)
                assert process.exitcode in {0, 1}
            check_starts(office)
        work(office, threads)
        check_ends(office)
        check_threads(office, threads)
        check_history(office)
