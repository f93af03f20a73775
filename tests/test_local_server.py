"""The embedded engine over HTTP: the real SDK, keys, limits, health and metrics."""

import asyncio
import json
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from bighub import (
    AsyncBighubClient,
    BighubAPIError,
    BighubAuthError,
    BighubClient,
    BighubRateLimitError,
    BighubValidationError,
)

from bighub_langgraph.local import Engine
from bighub_langgraph.local.api_keys import create_key, list_keys, revoke_key
from bighub_langgraph.local.errors import ApiError
from bighub_langgraph.local.routes import ROUTES, handle_request
from bighub_langgraph.local.server import PublicWithoutKeys, ServerLimits, is_loopback, serve
from tests.local_engine import Clock
from tests.local_server import serving

BODY: dict[str, Any] = {"action": "refund", "value": 20.0, "domain": "shop"}


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine(clock=Clock()) as engine:
        yield engine


@pytest.fixture
def address(engine: Engine) -> Iterator[str]:
    with serving(engine) as url:
        yield url


def client(url: str, key: str | None = None) -> BighubClient:
    return BighubClient(base_url=url, api_key=key, max_retries=0)


def test_the_sdk_learns_over_http_as_in_process(address: str) -> None:
    with client(address) as bighub:
        for _ in range(60):
            reply = bighub.actions.evaluate(**BODY)
            bighub.outcomes.report(request_id=reply["request_id"], status="SUCCESS")
        decision = bighub.decide(**BODY)
        assert decision.mode == "autonomous"
        assert bighub.outcomes.timeline(reply["request_id"])["current_status"] == "SUCCESS"
        rule = bighub.constraints.create({"name": "n", "domain": "shop", "max_value": 1.0})
        assert bighub.actions.evaluate(**BODY)["recommendation"] == "do_not_proceed"
        bighub.constraints.delete(rule["rule_id"])
        assert bighub.calibration.report(domain="shop")["total"] == 60
        assert bighub.cases.list(limit=2)["limit"] == 2
        assert bighub.events.stats()["total"] == 62
        assert bighub.approvals.list() == []


async def test_the_async_sdk_works_over_http(address: str) -> None:
    async with AsyncBighubClient(base_url=address, max_retries=0) as bighub:
        first, second = [await bighub.actions.evaluate(**BODY, idempotency_key="k") for _ in "12"]
        assert first == second
        resolved = await bighub.approvals.resolve(first["request_id"], resolution="approved")
        assert resolved["status"] == "approved"


def test_errors_are_the_sdks(address: str) -> None:
    with client(address) as bighub:
        with pytest.raises(BighubValidationError) as invalid:
            bighub.actions.evaluate(action="")
        assert invalid.value.validation_errors[0]["loc"] == ["body", "action"]
        with pytest.raises(BighubAPIError, match="404"):
            bighub.outcomes.get("nobody")
        with pytest.raises(BighubAPIError) as missing:
            bighub.insights.learn()
        assert missing.value.status_code == 501
        assert "does not offer GET /insights/patterns/learn" in str(missing.value.detail)


REFUSED: list[tuple[str, str, Any, Any]] = [
    ("POST", "/actions/evaluate", {}, {"action": "", "value": "12", "domain": "a\x00"}),
    ("POST", "/outcomes/report", {}, {"status": "WONDERFUL", "tags": ["", 7]}),
    ("POST", "/approvals/req_1/resolve", {}, {"resolution": "maybe"}),
    ("POST", "/rules", {}, {"name": "n", "domain": "d", "max_valu": 1}),
    ("POST", "/rules", {}, {"name": "n", "domain": "d", "min_value": 2, "max_value": 1}),
    ("GET", "/approvals", {"status": "waiting", "limit": "1001"}, None),
    ("GET", "/events", {"limit": "1.5", "offset": "-1", "severity": ""}, None),
    ("GET", "/cases", {"has_outcome": "maybe", "min_risk_score": "nan"}, None),
    ("GET", "/outcomes/analytics/summary", {"since": "yesterday"}, None),
    ("GET", "/outcomes/nobody", {}, None),
    ("GET", "/nowhere", {}, None),
]


@pytest.mark.parametrize("request_", REFUSED, ids=lambda request: request[1])
def test_a_request_is_refused_alike_in_process_and_over_http(
    engine: Engine, address: str, request_: tuple[str, str, Any, Any]
) -> None:
    method, path, params, body = request_
    with pytest.raises(ApiError) as refused:
        handle_request(engine, method, path, params=params, body=body)
    response = httpx.request(method, f"{address}{path}", params=params, json=body)
    assert response.status_code == refused.value.status
    assert response.json() == {"detail": refused.value.detail}


def test_once_a_key_was_made_every_request_needs_one(engine: Engine, address: str) -> None:
    with client(address) as anybody:
        anybody.actions.status()
        key = create_key(engine, label="agents")["key"]
        with pytest.raises(BighubAuthError):
            anybody.actions.status()
    with client(address, key) as agent:
        assert agent.actions.status()["status"] == "ok"
    bearer = BighubClient(base_url=address, bearer_token=key, max_retries=0)
    assert bearer.actions.status()["status"] == "ok"
    bearer.close()


def test_a_key_does_only_what_its_scopes_say(engine: Engine, address: str) -> None:
    key = create_key(engine, label="agents", scopes=("read", "decide"))["key"]
    with client(address, key) as agent:
        agent.actions.evaluate(**BODY)
        with pytest.raises(BighubAuthError, match="may not control"):
            agent.kill_switch.activate()


def test_a_revoked_or_expired_key_is_worth_nothing(engine: Engine, address: str) -> None:
    revoked = create_key(engine, label="old")
    expired = create_key(engine, label="short", days=0.0)
    revoke_key(engine, revoked["key_id"])
    for key in (revoked["key"], expired["key"], "made up"):
        with client(address, key) as agent, pytest.raises(BighubAuthError, match="unknown"):
            agent.actions.status()


def test_a_key_that_was_good_a_moment_ago_ends_when_it_is_revoked(
    engine: Engine, address: str
) -> None:
    key = create_key(engine, label="agents")
    with client(address, key["key"]) as agent:
        agent.actions.evaluate(**BODY)
        revoke_key(engine, key["key_id"])
        for _ in range(2):
            with pytest.raises(BighubAuthError, match="revoked"):
                agent.actions.evaluate(**BODY)
    with engine.store.transaction() as tx:
        assert tx.exec_driver_sql("SELECT count(*) FROM bighub_decisions").scalar_one() == 1


def test_a_key_can_be_read_only_when_it_is_made(engine: Engine) -> None:
    secret = create_key(engine, label="agents")["key"]
    (listed,) = list_keys(engine)
    assert "key" not in listed
    with engine.store.transaction() as tx:
        stored = tx.exec_driver_sql("SELECT * FROM bighub_keys").all()
    assert secret not in str(stored)


def test_unknown_scopes_are_refused(engine: Engine) -> None:
    with pytest.raises(ValueError, match="read, decide, control"):
        create_key(engine, label="x", scopes=("everything",))


def test_a_body_that_is_too_large_is_refused(address: str) -> None:
    huge = json.dumps({**BODY, "context": {"text": "x" * 10_000_000}})
    response = httpx.post(
        f"{address}/actions/evaluate", content=huge, headers={"content-type": "application/json"}
    )
    assert response.status_code == 413


@pytest.mark.parametrize(
    "raw", ["{", "NaN", "[1]", '{"action": "a", "value": NaN}', "[" * 100_000, "\x00", '"text"']
)
def test_what_is_not_a_json_object_is_refused(address: str, raw: str) -> None:
    response = httpx.post(
        f"{address}/actions/evaluate", content=raw, headers={"content-type": "application/json"}
    )
    assert response.status_code == 422
    assert isinstance(response.json()["detail"], list)


def test_another_content_type_is_refused(address: str) -> None:
    response = httpx.post(f"{address}/actions/evaluate", content=json.dumps(BODY))
    assert response.status_code == 415


def test_a_caller_above_the_rate_limit_is_told_how_long_to_wait(engine: Engine) -> None:
    with serving(engine, limits=ServerLimits(requests_per_minute=2)) as url, client(url) as bighub:
        for _ in range(2):
            bighub.actions.status()
        with pytest.raises(BighubRateLimitError) as refused:
            bighub.actions.status()
        assert 1 <= float(refused.value.retry_after_seconds or 0) <= 30


async def post_decisions(url: str, numbers: range, **changed: Any) -> list[httpx.Response]:
    """Make many decisions at once, each over its own connection."""
    async with httpx.AsyncClient(base_url=url, timeout=30) as connections:
        bodies = ({**BODY, "target": f"order-{number}", **changed} for number in numbers)
        posts = (connections.post("/actions/evaluate", json=body) for body in bodies)
        return await asyncio.gather(*posts)


class CountingEngine(Engine):
    """An engine that counts its commits."""

    commits = 0

    @contextmanager
    def batch_transaction(self) -> Iterator[Any]:
        self.commits += 1
        with super().batch_transaction() as tx:
            yield tx


async def test_simultaneous_requests_share_commits(tmp_path: Path) -> None:
    with CountingEngine(f"sqlite:///{tmp_path / 'bighub.db'}") as engine, serving(engine) as url:
        response = await post_decisions(url, range(60))
        assert {each.status_code for each in response} == {200}
        assert len({each.json()["request_id"] for each in response}) == 60
        with client(url) as bighub:
            assert bighub.actions.status()["decisions"] == 60
        assert engine.commits < 60


async def test_one_request_that_is_refused_does_not_hold_up_the_others(address: str) -> None:
    good, bad = await asyncio.gather(
        post_decisions(address, range(20)),
        post_decisions(address, range(20), action="", value=-1.0),
    )
    assert {each.status_code for each in good} == {200}
    assert {each.status_code for each in bad} == {422}
    with client(address) as bighub:
        assert bighub.actions.status()["decisions"] == 20


class FailingEngine(Engine):
    """An engine whose commits fail on demand."""

    fails = False

    @contextmanager
    def batch_transaction(self) -> Iterator[Any]:
        with super().batch_transaction() as tx:
            yield tx
            if self.fails:
                raise sqlite3.OperationalError("disk I/O error")


def test_a_failed_commit_is_an_error_for_every_request_in_it() -> None:
    with FailingEngine() as engine, serving(engine) as url, client(url) as bighub:
        engine.fails = True
        with pytest.raises(BighubAPIError, match="503"):
            bighub.actions.evaluate(**BODY)
        engine.fails = False
        assert bighub.actions.status()["decisions"] == 0


def test_health_needs_no_key_and_metrics_do(engine: Engine, address: str) -> None:
    key = create_key(engine, label="scraper", scopes=("read",))["key"]
    assert httpx.get(f"{address}/healthz").json() == {"status": "ok"}
    assert httpx.get(f"{address}/metrics").status_code == 401
    with client(address, create_key(engine, label="agent")["key"]) as agent:
        agent.actions.evaluate(**BODY)
    metrics = httpx.get(f"{address}/metrics", headers={"x-api-key": key}).text
    assert 'bighub_recommendations_total{recommendation="review_recommended"} 1' in metrics
    assert 'route="/actions/evaluate",status="200"' in metrics


def test_the_log_has_routes_and_statuses_but_no_contents(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bighub_langgraph.server")
    with client(address, "secret-key-7") as bighub, pytest.raises(BighubAuthError):
        bighub.approvals.resolve("req_7", resolution="approved", comment="card 4111")
    (line,) = [json.loads(each.message) for each in caplog.records if each.name.endswith("server")]
    assert line["route"] == "/approvals/{request_id}/resolve"
    assert line["status"] == 401
    assert "4111" not in caplog.text
    assert "secret-key-7" not in caplog.text


def test_openapi_describes_every_route(address: str) -> None:
    document = httpx.get(f"{address}/openapi.json").json()
    schemas = document["components"]["schemas"]
    for route in ROUTES:
        operation = document["paths"][route.path][route.method.lower()]
        assert [parameter["name"] for parameter in operation.get("parameters", [])] == [
            *route.path_names,
            *(route.query.model_fields if route.query else ()),
        ]
        assert ("requestBody" in operation) is (route.body is not None)
        assert operation["responses"]["200"]["content"]["application/json"]["schema"]
        assert [set(scheme) for scheme in operation["security"]] == [
            {"APIKeyHeader"},
            {"HTTPBearer"},
        ]
    assert "action" in schemas["EvaluateRequest"]["required"]
    assert schemas["EvaluationResponse"]["properties"]["recommendation"]["enum"]
    assert set(document["components"]["securitySchemes"]) == {"APIKeyHeader", "HTTPBearer"}


def test_another_host_name_is_refused_where_no_key_protects(engine: Engine) -> None:
    with serving(engine, hosts=("127.0.0.1",)) as url:
        assert httpx.get(f"{url}/healthz").status_code == 200
        rebound = httpx.get(f"{url}/healthz", headers={"host": "evil.example"})
        assert rebound.status_code == 400


def test_a_public_address_without_keys_is_refused() -> None:
    with pytest.raises(PublicWithoutKeys, match="keys create"):
        serve("sqlite://", host="0.0.0.0")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("10.0.0.1", False), ("x.y", False)],
)
def test_loopback_hosts_are_recognized(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
