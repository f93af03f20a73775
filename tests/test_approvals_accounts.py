"""The users of the approval page: their roles, sessions and passwords, and the audit log."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bighub_langgraph import Journal
from bighub_langgraph.approvals.accounts import LIFETIMES, LINK, SESSION, AccountError, Accounts
from bighub_langgraph.cli.app import app
from tests.local_engine import Clock

PASSWORD = "correct horse battery"


@pytest.fixture
def clock() -> Clock:
    return Clock(1_800_000_000.0, step=0.0)


@pytest.fixture
def accounts(database: str, clock: Clock) -> Iterator[Accounts]:
    journal = Journal(database, clock=clock)
    yield Accounts(journal)
    journal.close()


def events(accounts: Accounts) -> list[tuple[str, str, str]]:
    return [(entry.who, entry.event, entry.subject) for entry in accounts.audit()]


def test_a_user_signs_in_until_the_session_ends(accounts: Accounts, clock: Clock) -> None:
    user = accounts.add("ada", {"approver", "finance"}, PASSWORD, by="root")
    token = accounts.sign_in("ada", PASSWORD, address="10.0.0.1")
    assert token is not None
    assert accounts.find_session(token) == user
    assert user.may_answer
    clock.now += LIFETIMES[SESSION]
    assert accounts.find_session(token) is None
    assert events(accounts) == [("root", "user_added", "ada"), ("ada", "sign_in", "ada")]


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("ada", "wrong horse battery"),
        ("eve", PASSWORD),
        ("proxied", ""),
        ("ada", ""),
        ("a\x00", ""),
    ],
)
def test_nobody_signs_in_without_the_right_password(
    accounts: Accounts, name: str, password: str
) -> None:
    accounts.add("ada", {"viewer"}, PASSWORD, by="root")
    accounts.add("proxied", {"viewer"}, None, by="root")
    assert accounts.sign_in(name, password, address="10.0.0.1") is None
    assert accounts.audit()[-1].event == "sign_in_refused"
    assert accounts.audit()[-1].details == {"address": "10.0.0.1"}


def test_what_changes_a_user_changes_open_sessions(accounts: Accounts) -> None:
    user = accounts.add("ada", {"viewer"}, PASSWORD, by="root")
    first, second = (accounts.sign_in("ada", PASSWORD, address="") or "" for _ in range(2))
    accounts.set_roles("ada", {"admin"}, by="root")
    found_user = accounts.find_session(first)
    assert found_user is not None
    assert found_user.roles == {"admin"}
    accounts.sign_out(user, first)
    assert (accounts.find_session(first), accounts.find_session(second)) == (None, found_user)
    third = accounts.sign_in("ada", PASSWORD, address="") or ""
    accounts.sign_out(user, third, everywhere=True)
    assert accounts.find_session(second) is None
    link = accounts.create_link("ada")
    accounts.set_password("ada", f"{PASSWORD}!", by="root")
    assert accounts.find_session(link, LINK) is None
    link = accounts.create_link("ada")
    accounts.remove("ada", by="root")
    assert accounts.find_session(link, LINK) is None
    assert [event for _, event, _ in events(accounts)] == [
        *("user_added", "sign_in", "sign_in", "roles_changed", "sign_out", "sign_in", "sign_out"),
        *("password_changed", "user_removed"),
    ]


def test_a_link_signs_in_once_and_is_no_session(accounts: Accounts, clock: Clock) -> None:
    user = accounts.add("ada", {"approver"}, None, by="root")
    link = accounts.create_link("ada")
    assert accounts.find_session(link) is None
    session = accounts.use_link(link, address="127.0.0.1")
    assert session is not None
    assert accounts.find_session(session) == user
    assert accounts.use_link(link, address="127.0.0.1") is None
    assert accounts.use_link(session, address="127.0.0.1") is None
    late = accounts.create_link("ada")
    clock.now += LIFETIMES[LINK]
    assert accounts.use_link(late, address="127.0.0.1") is None


@pytest.mark.parametrize(
    ("name", "roles", "password"),
    [
        ("", {"viewer"}, PASSWORD),
        (" ada", {"viewer"}, PASSWORD),
        ("a\u202eda", {"viewer"}, PASSWORD),
        ("a" * 201, {"viewer"}, PASSWORD),
        ("BOB", {"viewer"}, PASSWORD),
        ("ada", {"finance"}, PASSWORD),
        ("ada", {"viewer", "admin"}, PASSWORD),
        ("ada", {"viewer", "two words"}, PASSWORD),
        ("ada", {"viewer"}, "too short"),
    ],
)
def test_a_user_that_could_be_mistaken_is_not_added(
    accounts: Accounts, name: str, roles: set[str], password: str
) -> None:
    accounts.add("bob", {"viewer"}, PASSWORD, by="root")
    with pytest.raises(AccountError):
        accounts.add(name, roles, password, by="root")
    assert [user.name for user in accounts.users()] == ["bob"]


def test_the_command_line_manages_users_and_prints_the_audit_log(tmp_path: Path) -> None:
    journal = str(tmp_path / "calls.db")

    def run(*arguments: str, stdin: str = "") -> tuple[int, str]:
        options = ("--journal", journal)
        result = CliRunner().invoke(app, ["inbox", *arguments, *options], input=stdin)
        return result.exit_code, result.output

    assert run("users", "list")[0] == 2  # a misspelt journal is not made
    Journal(journal).close()
    assert run("users", "add", "ada", "--role", "approver", stdin=f"{PASSWORD}\n")[0] == 0
    assert run("users", "add", "ada", "--role", "viewer", "--proxied")[0] == 2
    assert run("users", "role", "ada", "--role", "admin")[0] == 0
    assert run("users", "password", "ada", stdin="short\n")[0] == 2
    assert run("users", "password", "ada", stdin=f"{PASSWORD}!\n")[0] == 0
    users_json = json.loads(run("users", "list", "--json")[1])
    assert users_json == [{"name": "ada", "roles": ["admin"]}]
    assert "ada" in run("users", "list")[1]
    assert run("users", "remove", "ada")[0] == 0
    assert run("users", "remove", "ada")[0] == 2
    log = json.loads(run("audit", "--json")[1])
    events = ["user_added", "roles_changed", "password_changed", "user_removed"]
    assert [entry["event"] for entry in log] == events
    assert PASSWORD not in str(log)
    assert "user_removed" in run("audit")[1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--host", "0.0.0.0"), "can be reached from other machines"),
        (("--public-url", "http://approvals.example"), "must be https"),
        (("--public-url", "https://[::"), "--public-url is an https:// URL"),
        (("--trusted-header", "X-User"), "belong together"),
        (("--trusted-header", "X-User", "--proxy-secret-file", "secret"), "the proxy's address"),
    ],
)
def test_the_page_is_not_served_where_people_could_not_use_it_safely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("secret").write_text("a secret of the proxy's", encoding="utf-8")
    Journal("calls.db").close()
    result = CliRunner().invoke(app, ["inbox", "--port", "0", *options])
    assert (result.exit_code, words in " ".join(result.output.split())) == (2, True)
