"""The example with two workers prints the output that its page shows."""

import re
import subprocess
import sys
from pathlib import Path

from tests import postgres

EXAMPLE = Path(__file__).parent.parent / "examples" / "two_workers.py"


def test_two_workers_pay_each_refund_once(postgres_server: str) -> None:
    with postgres.database(postgres_server) as url:
        ran = subprocess.run(
            [sys.executable, EXAMPLE, postgres.plain(url)],
            capture_output=True,
            text=True,
            check=True,
        )
    assert ran.stdout.splitlines()[-1] == "payments: 10, of different calls: 10"
    # Two processes print, so their lines may be mixed.
    assert sorted(re.findall(r"worker \d went through \d+ threads", ran.stdout)) == [
        "worker 1 went through 10 threads",
        "worker 2 went through 10 threads",
    ]
