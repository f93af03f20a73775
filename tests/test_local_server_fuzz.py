"""Requests made from the server's own OpenAPI document: no fault, and no nonsense accepted."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, settings

from bighub_langgraph.local import Engine
from bighub_langgraph.local.server import ServerLimits, create_app

schemathesis = pytest.importorskip("schemathesis")
checks = pytest.importorskip("schemathesis.specs.openapi.checks")

ENGINE = Engine()
NO_LIMIT = ServerLimits(requests_per_minute=10_000_000)
CONFIG = schemathesis.Config()
CONFIG.projects.default.generation.update(with_security_parameters=False)  # nobody has a key
SCHEMA = schemathesis.openapi.from_asgi(
    "/openapi.json", create_app(ENGINE, limits=NO_LIMIT), config=CONFIG
)
CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.negative_data_rejection,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.unsupported_method,
]


@pytest.fixture(scope="module", autouse=True)
def _close_engine() -> Iterator[None]:
    yield
    ENGINE.close()


@SCHEMA.parametrize()  # type: ignore[untyped-decorator, unused-ignore]
@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_the_server_answers_whatever_comes(case: Any) -> None:
    # Parameters that the server does not know are ignored: a newer SDK may send them.
    assume(not case.query or case.query.keys() <= {each.name for each in case.operation.query})
    case.call_and_validate(checks=CHECKS)
