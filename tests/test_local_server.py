"""The embedded engine over HTTP: the real SDK, keys, limits, health and metrics."""

import asyncio
import json
import logging
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
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

from bighub_langgraph import BighubGuard, Journal
from bighub_langgraph.core.lifecycle import AnswerGiven, ExecutionFinished, ExecutionStarted
from bighub_langgraph.core.models import ToolSucceeded, Verdict
from bighub_langgraph.local import Engine
from bighub_langgraph.local.api_keys import create_key, list_keys, revoke_key
from bighub_langgraph.local.errors import ApiError
from bighub_langgraph.local.routes import ROUTES, handle_request
from bighub_langgraph.local.server import PublicWithoutKeys, ServerLimits, is_loopback, serve
from tests.calls import approval, decided_record
from tests.cli_journal import REPORTING
from tests.local_engine import Clock
from tests.local_server import serve_engine

BODY: dict[str, Any] = {"action": "refund", "value": 20.0, "domain": "shop"}


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine(clock=Clock()) as engine:
        yield engine


@pytest.fixture
def address(engine: Engine) -> Iterator[str]:
    with serve_engine(engine) as url:
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
        resolution = await bighub.approvals.resolve(first["request_id"], resolution="approved")
        assert resolution["status"] == "approved"


def test_errors_are_the_sdks(address: str) -> None:
    with client(address) as bighub:
        with pytest.raises(BighubValidationError) as invalid:
            bighub.actions.evaluate(action="")
        assert invalid.value.validation_errors[0]["loc"] == ["body", "action"]
        with pytest.raises(BighubAPIError, match="404"):
            bighub.outcomes.get("nobody")
        with pytest.raises(BighubAPIError) as error_info:
            bighub.insights.learn()
        assert error_info.value.status_code == 501
        assert "does not offer GET /insights/patterns/learn" in str(error_info.value.detail)


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
    with pytest.raises(ApiError) as error_info:
        handle_request(engine, method, path, params=params, body=body)
    response = httpx.request(method, f"{address}{path}", params=params, json=body)
    assert response.status_code == error_info.value.status
    assert response.json() == {"detail": error_info.value.detail}


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
    revoked_key = create_key(engine, label="old")
    expired_key = create_key(engine, label="short", days=0.0)
    revoke_key(engine, revoked_key["key_id"])
    for key in (revoked_key["key"], expired_key["key"], "made up"):
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
    (key,) = list_keys(engine)
    assert "key" not in key
    with engine.store.transaction() as tx:
        rows = tx.exec_driver_sql("SELECT * FROM bighub_keys").all()
    assert secret not in str(rows)


def test_unknown_scopes_are_refused(engine: Engine) -> None:
    with pytest.raises(ValueError, match="read, decide, approve, control"):
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
    with (
        serve_engine(engine, limits=ServerLimits(requests_per_minute=2)) as url,
        client(url) as bighub,
    ):
        for _ in range(2):
            bighub.actions.status()
        with pytest.raises(BighubRateLimitError) as error_info:
            bighub.actions.status()
        assert 1 <= float(error_info.value.retry_after_seconds or 0) <= 30


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
    with (
        CountingEngine(f"sqlite:///{tmp_path / 'bighub.db'}") as engine,
        serve_engine(engine) as url,
    ):
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
    with FailingEngine() as engine, serve_engine(engine) as url, client(url) as bighub:
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
    (line,) = [vars(each) for each in caplog.records if each.name.endswith("server")]
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
    with serve_engine(engine, hosts=("127.0.0.1",)) as url:
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


# -- clients that misbehave ------------------------------------------------------------------------

HEAD = b"POST /actions/evaluate HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
HALF_SENT = {
    "nothing": b"",
    "half a line": b"POST /actions/eva",
    "half a head": HEAD,
    "half a body": HEAD + b'content-length: 100\r\n\r\n{"action": ',
    "a chunk of many": HEAD + b'transfer-encoding: chunked\r\n\r\n5\r\n{"act\r\n',
    "a second request": b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n" + HEAD,
}


def connect(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    connection.settimeout(20)
    return connection


def read_to_the_end(connection: socket.socket) -> bytes:
    with suppress(ConnectionError):
        return b"".join(iter(lambda: connection.recv(65_536), b""))
    return b""


@pytest.mark.parametrize("part", HALF_SENT)
def test_a_request_that_is_never_sent_completely_is_closed(engine: Engine, part: str) -> None:
    limits = ServerLimits(request_seconds=0.5)
    with serve_engine(engine, limits=limits) as url, connect(url) as connection:
        connection.sendall(HALF_SENT[part])
        assert read_to_the_end(connection).endswith(
            b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        )
        assert httpx.get(f"{url}/healthz").status_code == 200


def test_a_request_that_drips_is_closed_as_well(engine: Engine) -> None:
    limits = ServerLimits(request_seconds=0.5)
    with serve_engine(engine, limits=limits) as url, connect(url) as connection:
        connection.settimeout(0.05)
        connection.sendall(HEAD + b"content-length: 1000\r\n\r\n")
        content = b""
        for _ in range(400):
            with suppress(TimeoutError, ConnectionError):
                connection.sendall(b" ")
                content = content or connection.recv(1_000)
            if content:
                break
        assert content.startswith(b"HTTP/1.1 408 ")


def test_an_address_holds_a_limited_number_of_connections(engine: Engine) -> None:
    with (
        serve_engine(engine, limits=ServerLimits(connections_per_address=3)) as url,
        ExitStack() as all_,
    ):
        connections = [all_.enter_context(connect(url)) for _ in range(3)]
        with connect(url) as one_more:
            assert read_to_the_end(one_more).startswith(b"HTTP/1.1 429 ")
        connections[0].close()
        with httpx.Client(transport=httpx.HTTPTransport(retries=3)) as next_client:
            assert next_client.get(f"{url}/healthz").status_code == 200


def test_wrong_keys_of_an_address_are_soon_not_looked_up_any_more(engine: Engine) -> None:
    key = create_key(engine, label="agents")["key"]
    limits = ServerLimits(wrong_keys_per_minute=5)
    with serve_engine(engine, limits=limits) as url, client(url, key) as agent:
        agent.actions.status()
        guesses = [
            httpx.get(f"{url}/actions/status", headers={"x-api-key": f"guess {number}"})
            for number in range(8)
        ]
        assert [each.status_code for each in guesses] == [401] * 5 + [429] * 3
        assert int(guesses[-1].headers["retry-after"]) > 0
        assert httpx.get(f"{url}/actions/status").status_code == 429
        agent.actions.status()  # a key that was valid a moment ago is not looked up


@pytest.mark.parametrize("path", ["/cases/%00", "/outcomes/a%00b", "/rules/%1b", "/%00", "/x/%0a"])
def test_control_characters_in_a_path_are_an_error_of_the_caller(address: str, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        response = httpx.request(method, f"{address}{path}")
        assert 400 <= response.status_code < 500


CROSS_SITE: dict[str, dict[str, str]] = {
    "another origin": {"origin": "http://evil.example"},
    "another port": {"origin": "http://127.0.0.1:1"},
    "an opaque origin": {"origin": "null"},
    "an origin that is no URL": {"origin": "http://[::"},
    "fetch metadata": {"sec-fetch-site": "cross-site"},
    "a form": {"content-type": "application/x-www-form-urlencoded"},
    "plain text": {"content-type": "text/plain"},
}


@pytest.mark.parametrize("headers", CROSS_SITE.values(), ids=CROSS_SITE)
@pytest.mark.parametrize("body", [b"", b"{}"])
def test_a_web_page_of_another_site_changes_nothing(
    engine: Engine, address: str, headers: dict[str, str], body: bytes
) -> None:
    headers = {"content-type": "application/json", **headers} if body else headers
    switch = handle_request(engine, "POST", "/kill-switch/activate", body={})
    url = f"{address}/kill-switch/deactivate/{switch['switch_id']}"
    assert httpx.post(url, content=body, headers=headers).status_code in {403, 415}
    assert handle_request(engine, "GET", "/kill-switch/status")["active"] is True


def test_a_page_of_the_servers_own_origin_and_programs_without_one_are_served(address: str) -> None:
    own_page = {"origin": address, "sec-fetch-site": "same-origin"}
    for headers in ({}, own_page):
        response = httpx.post(f"{address}/kill-switch/activate", json={}, headers=headers)
        assert response.status_code == 200


# -- who may approve -------------------------------------------------------------------------------


def test_a_key_that_may_only_decide_reports_answers_and_never_gives_one(
    engine: Engine, address: str
) -> None:
    agent_key = create_key(engine, label="agent", scopes=("decide",))["key"]
    person_key = create_key(engine, label="desk", scopes=("read", "approve"))["key"]
    with client(address, agent_key) as agent, client(address, person_key) as person:
        request_id = agent.actions.submit(**BODY)["request_id"]
        report: Any = agent.approvals.resolve(
            request_id, resolution="approved", comment="Ada said so"
        )
        assert (report["status"], report["resolution"]) == ("pending", None)
        assert report["agent_report"]["note"] == "reported by the agent, not verified"
        assert report["agent_report"]["comment"] == "Ada said so"
        approval: Any = person.approvals.list()[0]
        assert approval["agent_report"]["verified"] is False
        assert agent.outcomes.report(request_id=request_id, status="BLOCKED")["status"]
        answer: Any = person.approvals.resolve(request_id, resolution="denied")
        assert (answer["status"], answer["resolution"]) == ("denied", "denied")
        assert agent.approvals.resolve(request_id, resolution="approved")["status"] == "denied"
        with pytest.raises(BighubAuthError, match="may not decide"):
            person.actions.submit(**BODY)


@pytest.mark.parametrize("owner", ["another key", "nobody", "this process"])
def test_a_key_that_may_only_decide_says_nothing_about_requests_of_others(
    engine: Engine, address: str, owner: str
) -> None:
    if owner == "another key":
        key = create_key(engine, label="agent", scopes=("decide",))["key"]
        with client(address, key) as other:
            request_id = other.actions.submit(**BODY)["request_id"]
    elif owner == "nobody":
        with client(address) as other:
            request_id = other.actions.submit(**BODY)["request_id"]
    else:
        request_id = handle_request(engine, "POST", "/actions/evaluate", body=BODY)["request_id"]
    agent_key = create_key(engine, label="agent", scopes=("decide",))["key"]
    with client(address, agent_key) as agent:
        with pytest.raises(BighubAuthError, match="may not approve"):
            agent.approvals.resolve(request_id, resolution="approved")
        with pytest.raises(BighubAuthError, match="may not approve"):
            agent.reviews.resolve(request_id, decision="modified", modified_action="all of it")
    (approval,) = handle_request(engine, "GET", "/approvals")
    assert approval["agent_report"] is None


def test_an_idempotency_key_of_an_agents_report_answers_no_person(
    engine: Engine, address: str
) -> None:
    agent_key = create_key(engine, label="agent", scopes=("decide",))["key"]
    person_key = create_key(engine, label="desk", scopes=("approve",))["key"]
    with client(address, agent_key) as agent:
        request_id = agent.actions.submit(**BODY)["request_id"]
    statuses = [
        httpx.post(
            f"{address}/approvals/{request_id}/resolve",
            json={"resolution": "approved"},
            headers={"x-api-key": key, "idempotency-key": "same"},
        ).status_code
        for key in (agent_key, person_key)
    ]
    assert statuses == [200, 422]


def test_a_guards_outcome_arrives_though_its_key_may_not_resolve(
    engine: Engine, address: str
) -> None:
    old_key, new_key = (
        create_key(engine, label="agent", scopes=("decide",))["key"] for _ in range(2)
    )
    journal = Journal.in_memory()
    with client(address, new_key) as bighub:
        guard = BighubGuard(bighub=bighub, journal=journal)
        with client(address, old_key) as before:  # the key was changed after the decision
            request_id = before.actions.submit(**BODY)["request_id"]
        record = decided_record(Verdict.REVIEW)
        assert record.decision is not None
        record = record._replace(decision=replace(record.decision, request_id=request_id))
        journal.insert([record], REPORTING)
        journal.transition(record.key, AnswerGiven(approval()), REPORTING)
        journal.transition(record.key, ExecutionStarted("me", 0.0), REPORTING)
        journal.transition(record.key, ExecutionFinished("me", ToolSucceeded("ok")), REPORTING)
        assert guard.flush(5) == 1
        guard.close()
    outcome = handle_request(engine, "GET", f"/outcomes/{request_id}")
    assert (outcome["status"], outcome["details"]["output"]) == ("SUCCESS", "ok")
