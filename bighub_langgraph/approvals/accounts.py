"""Who may use the approval page: users, their roles and sessions, and the audit log."""

import json
import secrets
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

from bighub_langgraph.core.errors import BighubGuardError
from bighub_langgraph.journal import schema
from bighub_langgraph.journal.row_mapping import name_row, read_rows, to_storable
from bighub_langgraph.journal.sql import Journal
from bighub_langgraph.sqldb import execute, fetch_rows

VIEWER, APPROVER, ADMIN = ROLES = ("viewer", "approver", "admin")
SHORTEST_PASSWORD = 10
LONGEST = 200  # characters of a name or a password
SESSION, LINK = "session", "link"
# How long a session and a link to sign in are valid, in seconds.
LIFETIMES = {SESSION: 12 * 3600.0, LINK: 600.0}
# A hash takes 64 MB of memory; more sign-ins at the same time wait.
_hash_slots = threading.BoundedSemaphore(2)


class AccountError(BighubGuardError):
    """A user cannot be added or changed as asked; the message says why."""


@dataclass(frozen=True, slots=True)
class User:
    """A person who may open the page.

    Attributes:
        roles: One of viewer, approver and admin, and perhaps roles of your own.
    """

    name: str
    roles: frozenset[str]

    @property
    def may_answer(self) -> bool:
        """Whether the role permits answers; a call may ask for more."""
        return bool(self.roles & {APPROVER, ADMIN})


class AuditEntry(NamedTuple):
    """One row of the audit log: who did what, when, and to which call or user."""

    at: float
    who: str
    event: str
    subject: str
    details: Mapping[str, Any]


class Accounts:
    """The users of one journal's database. Every change is in the audit log with who made it.

    Of passwords and sessions only hashes are stored.
    """

    def __init__(self, journal: Journal) -> None:
        from argon2 import PasswordHasher

        self.journal = journal
        self._db = journal.database
        self._hasher = PasswordHasher()
        # An unknown name takes as long as a wrong password.
        self._no_password = self._hasher.hash(secrets.token_hex())

    # -- users

    def add(self, name: str, roles: Collection[str], password: str | None, *, by: str) -> User:
        """Add a user. One without a password can only be signed in by a proxy.

        Raises:
            AccountError: The name, a role or the password cannot be used.
        """
        user = User(_check_name(name), _check_roles(roles))
        row = {"roles": _join_roles(user.roles), "password": self._hash(password)}
        with self._db.transaction() as db:
            users = [item["name"] for item in fetch_rows(db, schema.SELECT_USERS)]
            if similar := [item for item in users if item.casefold() == name.casefold()]:
                raise AccountError(f"there is a user {similar[0]!r} already")
            execute(db, schema.INSERT_USER, name=name, created_at=self._db.now(), **row)
            self._write(db, by, "user_added", name, roles=row["roles"])
        return user

    def set_roles(self, name: str, roles: Collection[str], *, by: str) -> User:
        """Replace a user's roles, also for sessions that are open."""
        user = User(name, _check_roles(roles))
        self._change(schema.UPDATE_ROLES, name, by, "roles_changed", roles=_join_roles(user.roles))
        return user

    def set_password(self, name: str, password: str, *, by: str) -> None:
        """Replace a user's password, and sign the user out everywhere."""
        password_hash = self._hash(password)
        with self._db.transaction() as db:
            if not execute(db, schema.UPDATE_PASSWORD, name=name, password=password_hash):
                raise _build_unknown_user_error(name)
            execute(db, schema.DELETE_SESSIONS, name=name)
            self._write(db, by, "password_changed", name)

    def remove(self, name: str, *, by: str) -> None:
        """Remove a user, whose sessions end at once."""
        with self._db.transaction() as db:
            self._change(schema.DELETE_USER, name, by, "user_removed")
            execute(db, schema.DELETE_SESSIONS, name=name)

    def find(self, name: str) -> User | None:
        """Return a user."""
        rows = self._db.fetch_rows(schema.SELECT_USER, name=name)
        return _build_user(rows[0]) if rows else None

    def users(self) -> list[User]:
        """Return every user, by name."""
        return [_build_user(row) for row in self._db.fetch_rows(schema.SELECT_USERS)]

    # -- sessions

    def sign_in(self, name: str, password: str, *, address: str) -> str | None:
        """Return the token of a new session, or None if name or password are wrong."""
        from argon2.exceptions import InvalidHashError, VerificationError

        rows = self._db.fetch_rows(schema.SELECT_USER, name=to_storable(name[:LONGEST]))
        password_hash = rows[0]["password"] if rows else ""
        try:
            with _hash_slots:
                self._hasher.verify(password_hash or self._no_password, password[: LONGEST + 1])
        except (VerificationError, InvalidHashError):
            password_hash = ""
        if not password_hash:
            with self._db.transaction() as db:
                who = rows[0]["name"] if rows else ""
                self._write(db, who, "sign_in_refused", name[:LONGEST], address=address)
            return None
        return self._create_token(rows[0]["name"], SESSION, address)

    def create_link(self, name: str) -> str:
        """Return a token with which a user can sign in once, without the password."""
        if self.find(name) is None:
            raise _build_unknown_user_error(name)
        return self._create_token(name, LINK, "")

    def use_link(self, token: str, *, address: str) -> str | None:
        """Return the token of a new session for a link's, which is valid once."""
        user = self.find_session(token, LINK)
        with self._db.transaction() as db:
            if user is None or not execute(db, schema.DELETE_SESSION, digest=_digest(token)):
                return None
        return self._create_token(user.name, SESSION, address)

    def find_session(self, token: str, kind: str = SESSION) -> User | None:
        """Return the user of a session that is valid."""
        values = {"digest": _digest(token), "kind": kind, "at": self._db.now()}
        rows = self._db.fetch_rows(schema.SELECT_SESSION, **values)
        return _build_user(rows[0]) if rows else None

    def sign_out(self, user: User, token: str, *, everywhere: bool = False) -> None:
        """End a session, or all of a user's."""
        with self._db.transaction() as db:
            if everywhere:
                execute(db, schema.DELETE_SESSIONS, name=user.name)
            else:
                execute(db, schema.DELETE_SESSION, digest=_digest(token))
            self._write(db, user.name, "sign_out", user.name, everywhere=everywhere)

    # -- audit log

    def audit(self, limit: int = 1000) -> list[AuditEntry]:
        """Return the newest entries of the audit log, oldest first."""
        rows = self._db.fetch_rows(schema.SELECT_AUDIT, limit=limit)
        return read_rows(reversed(rows), _build_audit_entry)

    def _write(self, db: Any, who: str, event: str, subject: str, **details: Any) -> None:
        row = {"at": self._db.now(), "who": who, "event": event, "details": json.dumps(details)}
        execute(db, schema.INSERT_AUDIT, subject=to_storable(subject), **row)

    def _change(self, statement: str, name: str, by: str, event: str, **values: Any) -> None:
        with self._db.transaction() as db:
            if not execute(db, statement, name=name, **values):
                raise _build_unknown_user_error(name)
            self._write(db, by, event, name, **values)

    def _create_token(self, name: str, kind: str, address: str) -> str:
        token, now = secrets.token_urlsafe(32), self._db.now()
        row = {"digest": _digest(token), "name": name, "kind": kind}
        with self._db.transaction() as db:
            execute(db, schema.PRUNE_SESSIONS, at=now)
            execute(db, schema.INSERT_SESSION, **row, expires_at=now + LIFETIMES[kind])
            if kind == SESSION:
                self._write(db, name, "sign_in", name, address=address)
        return token

    def _hash(self, password: str | None) -> str:
        if password is None:
            return ""
        if not SHORTEST_PASSWORD <= len(password) <= LONGEST:
            raise AccountError(
                f"a password has {SHORTEST_PASSWORD} to {LONGEST} characters, not {len(password)}"
            )
        with _hash_slots:
            return self._hasher.hash(password)


def _check_name(name: str) -> str:
    if not name.isprintable() or name.strip() != name or not 1 <= len(name) <= LONGEST:
        raise AccountError(
            f"a user's name has 1 to {LONGEST} visible characters, and no space at its ends"
        )
    return name


def _check_roles(roles: Collection[str]) -> frozenset[str]:
    if len(set(roles) & set(ROLES)) != 1 or any(len(role.split()) != 1 for role in roles):
        raise AccountError(
            f"a user has one of the roles {', '.join(ROLES)}, and perhaps others without spaces"
        )
    return frozenset(roles)


def _join_roles(roles: Collection[str]) -> str:
    return " ".join(sorted(roles))


def _build_user(row: Mapping[str, Any]) -> User:
    return User(row["name"], frozenset(row["roles"].split()))


def _build_audit_entry(row: Mapping[str, Any]) -> AuditEntry:
    with name_row(f"row {row['id']}", "bighub_audit"):
        details = json.loads(row["details"])
        return AuditEntry(row["at"], row["who"], row["event"], row["subject"], dict(details))


def _build_unknown_user_error(name: str) -> AccountError:
    return AccountError(f"no user is called {name!r}; see `bighub-langgraph inbox users list`")


def _digest(token: str) -> str:
    # A token is 256 random bits: its plain digest cannot be reversed.
    return sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
