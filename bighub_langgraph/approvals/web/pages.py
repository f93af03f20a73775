"""The approval page: what waits, one call with its answers, and the history."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException

from bighub_langgraph import __version__
from bighub_langgraph.approvals.accounts import LINK, LONGEST, Accounts, User
from bighub_langgraph.approvals.cards import ApprovalCard, Approver
from bighub_langgraph.approvals.edit_checks import check_edit
from bighub_langgraph.approvals.inbox import (
    ApprovalError,
    ApprovalInbox,
    ApprovalNotFound,
    NotAllowedToAnswer,
)
from bighub_langgraph.approvals.web import presentation
from bighub_langgraph.approvals.web.edit_form import InvalidField, build_fields, read_patch
from bighub_langgraph.approvals.web.visitors import (
    HEADERS,
    SESSION_COOKIE,
    SIGN_IN_PATH,
    AnyVisitor,
    CurrentSubmission,
    CurrentUser,
    PageError,
    SignedOut,
    Visitor,
    Visitors,
    find_client,
    require_user,
)
from bighub_langgraph.approvals.web.waiting_calls import WaitingCalls, read_filters, read_number
from bighub_langgraph.core.approval_answers import InvalidApprovalResponse
from bighub_langgraph.core.errors import JournalError
from bighub_langgraph.core.jsonable import replace_surrogates
from bighub_langgraph.core.models import Answer, State
from bighub_langgraph.local.server.auth_and_rate_limits import RateLimiter

PAGE_SIZE = 100
SIGN_INS_PER_MINUTE = 10  # that fail, of a client and for an account
CHANGE_AGE = 1.0  # seconds for which the newest change number is used again
_LONGEST_VERSION = 18
# Why an answer is not recorded; of the others the status is 409.
_STATUS: dict[type[Exception], int] = {
    NotAllowedToAnswer: 403,
    ApprovalNotFound: 404,
    InvalidApprovalResponse: 422,
    InvalidField: 422,
}
REFUSALS = (ApprovalError, InvalidApprovalResponse, InvalidField)


def create_app(inbox: ApprovalInbox, accounts: Accounts, visitors: Visitors) -> FastAPI:
    """Return the page's application."""
    page = _Page(inbox, accounts, visitors)
    app = FastAPI(title="Approvals", openapi_url=None, docs_url=None, redoc_url=None)
    app.state.visitors = visitors
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))
    endpoints: dict[tuple[str, str], Callable[..., Any]] = {
        ("GET", "/"): page.show_inbox,
        ("GET", "/calls/{key}"): page.show_call,
        ("GET", "/history"): page.show_history,
        ("GET", "/changes"): page.show_changes,
        ("GET", SIGN_IN_PATH): page.show_sign_in,
        ("POST", "/answers"): page.answer_several,
        ("POST", "/calls/{key}"): page.answer_call,
        ("POST", "/calls/{key}/check"): page.check_edit,
        ("POST", SIGN_IN_PATH): page.sign_in,
        ("POST", "/sign-out"): page.sign_out,
    }
    for (method, path), endpoint in endpoints.items():
        # A form names its user itself, once it is known to be this page's.
        is_open = method == "POST" or path == SIGN_IN_PATH
        needs = [] if is_open else [Depends(require_user)]
        app.add_api_route(path, endpoint, methods=[method], response_model=None, dependencies=needs)
    for error in (PageError, ApprovalNotFound, HTTPException):
        app.add_exception_handler(error, page.show_error)
    app.add_exception_handler(JournalError, _show_outage)
    app.middleware("http")(_check_host_and_add_headers)
    return app


async def _check_host_and_add_headers(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    """Refuse other names of this host, before anything else."""
    try:
        request.app.state.visitors.check_host(request)
        response = await call_next(request)
    except PageError as error:
        response = Response(str(error), error.status, media_type="text/plain")
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


async def _show_outage(_: Request, __: Exception) -> Response:
    message = "The journal cannot be used at the moment, so nothing was recorded. Try again."
    return Response(message, 503, media_type="text/plain")


class _Page:
    """What the endpoints share. Those that are no coroutines run in threads."""

    def __init__(self, inbox: ApprovalInbox, accounts: Accounts, visitors: Visitors) -> None:
        self._inbox = inbox
        self._accounts = accounts
        self._visitors = visitors
        self._sign_ins = RateLimiter(SIGN_INS_PER_MINUTE)
        self._change = (0, 0.0)  # and when it was read
        self._change_lock = asyncio.Lock()
        self._waiting_calls = WaitingCalls(inbox)
        self._templates = Environment(
            loader=PackageLoader(__package__), autoescape=True, undefined=StrictUndefined
        )
        self._templates.globals |= {"version": __version__, **presentation.GLOBALS}
        self._templates.filters |= presentation.FILTERS

    # -- what is shown

    def show_inbox(self, request: Request) -> Response:
        """Show what waits."""
        return self._inbox_page(request)

    def show_call(self, key: str, request: Request) -> Response:
        """Show one call, and the forms to answer it."""
        return self._call_page(request, self._inbox.get(key))

    def show_history(self, request: Request) -> Response:
        """Show all calls, also those that wait for nobody."""
        state = request.query_params.get("state", "")
        states = [State(state)] if state in set(State) else list(State)
        limit = int(read_number(request, "show") or PAGE_SIZE)
        filters = {**read_filters(request), "states": states, "newest_first": True}
        cards = self._inbox.list(**filters, limit=limit + 1)
        return self._render(
            request,
            "history.html",
            cards=cards[:limit],
            states=list(State),
            more=(limit + PAGE_SIZE) * (len(cards) > limit),
        )

    async def show_changes(self, user: CurrentUser) -> Response:
        """Return the newest change's number; it is read at most once a second for all pages."""
        async with self._change_lock:
            number, at = self._change
            if time.monotonic() - at > CHANGE_AGE:
                number = await run_in_threadpool(self._inbox.newest_change)
                self._change = (number, time.monotonic())
        return JSONResponse({"change": number, "user": user.name})

    def show_sign_in(self, request: Request, visitor: AnyVisitor) -> Response:
        """Show the form to sign in; a link's token signs in only when the form is sent."""
        if visitor.user is not None:
            return RedirectResponse("/", 303)
        link = request.query_params.get("link", "")
        user = self._accounts.find_session(link, LINK) if link else None
        if link and user is None:
            return self._sign_in_page(request, message="This link was used, or is too old.")
        return self._sign_in_page(request, link=link, link_user=user)

    async def show_error(self, request: Request, error: Exception) -> Response:
        """Show why a request is refused."""
        status, message = getattr(error, "status", 404), str(error)
        if isinstance(error, HTTPException):
            status, message = error.status_code, "There is no such page."
        elif isinstance(error, ApprovalNotFound):
            message = f"{message}. It may have been deleted."
        if request.url.path == "/changes" or request.url.path.endswith("/check"):
            return JSONResponse({"error": message}, status)
        if isinstance(error, SignedOut):
            message = "" if request.method == "GET" else message
            return self._sign_in_page(request, status, message)
        return self._render(request, "error.html", status, message=message)

    # -- what is sent

    def answer_call(self, key: str, request: Request, submission: CurrentSubmission) -> Response:
        """Record an answer, and show what became of it."""
        try:
            self._answer(key, submission.form, submission.user)
        except REFUSALS as error:
            card = self._inbox.get(key)
            status = _STATUS.get(type(error), 409)
            return self._call_page(request, card, status, error=str(error), form=submission.form)
        return RedirectResponse(f"/calls/{key}", 303)

    def answer_several(self, request: Request, submission: CurrentSubmission) -> Response:
        """Record the same answer about several calls that are alike."""
        selections = [value.partition(":") for name, value in submission.fields if name == "call"]
        cards = [self._inbox.get(key) for key, *_ in selections]
        if len({(card.agent, card.tool, card.outcome_unknown) for card in cards}) != 1:
            message = "Select calls of one agent and one tool to answer them at once."
            return self._inbox_page(request, 422, message=message)
        results = []
        for card, (*_, version) in zip(cards, selections, strict=True):
            try:
                self._answer(card.key, {**submission.form, "version": version}, submission.user)
                results.append((card, ""))
            except REFUSALS as error:
                results.append((card, str(error)))
        return self._inbox_page(request, results=results)

    def check_edit(self, key: str, submission: CurrentSubmission) -> Response:
        """Return what is wrong with an edit, as it is typed."""
        card = self._inbox.get(key)
        try:
            patch = read_patch(_build_fields(card), submission.form)
            if patch.values or patch.removed_pointers:
                check_edit(card, patch.values, patch.removed_pointers)
        except (InvalidField, InvalidApprovalResponse) as error:
            return JSONResponse({"error": replace_surrogates(str(error))})
        changes = [*patch.values, *patch.removed_pointers]
        return JSONResponse({"error": "", "changed": list(map(replace_surrogates, changes))})

    def sign_in(self, request: Request, submission: CurrentSubmission) -> Response:
        """Sign in with a password or a link."""
        if self._visitors.proxy is not None:
            raise PageError(403, "You are signed in by the proxy.")
        form, client = submission.form, find_client(request)
        name, link = form.get("name", ""), form.get("link", "")
        limit_keys = [f"client {client}"] + [f"name {name[:LONGEST]}"] * (not link)
        # Taken before the password is checked, so that attempts at the same time count.
        if wait := max([self._sign_ins.take(item) for item in limit_keys]):
            message = f"Too many attempts; try again in {wait:.0f} seconds."
            return self._sign_in_page(request, 429, message)
        if link:
            token = self._accounts.use_link(link, address=client)
        else:
            token = self._accounts.sign_in(name, form.get("password", ""), address=client)
        if token is None:
            return self._sign_in_page(request, 401, "The name or the password is wrong.")
        for item in limit_keys:
            self._sign_ins.take(item, -1)  # only failures count
        target = form.get("next", "")
        is_own = target.startswith("/") and not target.startswith(("//", "/\\"))
        response = RedirectResponse(target if is_own else "/", 303)
        self._visitors.set_session(response, token)
        return response

    def sign_out(self, submission: CurrentSubmission) -> Response:
        """End this session, or all sessions of the user."""
        everywhere = bool(submission.form.get("everywhere"))
        self._accounts.sign_out(submission.user, submission.visitor.token, everywhere=everywhere)
        response = RedirectResponse(SIGN_IN_PATH, 303)
        response.delete_cookie(SESSION_COOKIE)
        return response

    # -- shared

    def _answer(self, key: str, form: Mapping[str, str], user: User) -> None:
        answer = form.get("answer", "")
        approver = Approver(user.name, verified=True, roles=user.roles)
        version = _parse_version(form.get("version", ""))
        text = form.get("text", "").replace("\r\n", "\n")
        if answer == presentation.CANCEL:
            self._inbox.cancel(key, text, approver=approver, version=version)
            return
        changes: dict[str, Any] = {}
        if answer == Answer.EDIT:
            patch = read_patch(_build_fields(self._inbox.get(key)), form)
            changes = {"edit": patch.values, "remove": patch.removed_pointers}
        self._inbox.answer(
            key,
            answer,
            approver=approver,
            text=text,
            comment=form.get("comment", "").replace("\r\n", "\n"),
            version=version,
            **changes,
        )

    def _sign_in_page(
        self,
        request: Request,
        status: int = 200,
        message: str = "",
        *,
        link: str = "",
        link_user: User | None = None,
    ) -> Response:
        return self._render(
            request, "sign_in.html", status, message=message, link=link, link_user=link_user
        )

    def _inbox_page(
        self,
        request: Request,
        status: int = 200,
        *,
        message: str = "",
        results: list[tuple[ApprovalCard, str]] | None = None,
    ) -> Response:
        cards, change = self._waiting_calls.read(request)
        count = min(read_number(request, "show") or PAGE_SIZE, len(cards))
        return self._render(
            request,
            "inbox.html",
            status,
            change=change,
            cards=cards[: int(count)],
            total=len(cards),
            more=int(count) + PAGE_SIZE,
            message=message,
            results=results or [],
        )

    def _call_page(
        self,
        request: Request,
        card: ApprovalCard,
        status: int = 200,
        *,
        error: str = "",
        form: Mapping[str, str] | None = None,
    ) -> Response:
        return self._render(
            request,
            "call.html",
            status,
            card=card,
            choices=presentation.list_choices(card),
            fields=_build_fields(card),
            history=self._inbox.history(card.key),
            error=error,
            form=form or {},
        )

    def _render(self, request: Request, name: str, status: int = 200, **values: Any) -> Response:
        visitor: Visitor | None = getattr(request.state, "visitor", None)
        values["user"] = visitor.user if visitor else None
        if "change" not in values:
            values["change"] = self._inbox.newest_change() if values["user"] else 0
        content = self._templates.get_template(name).render(
            **values,
            form_token=visitor.form_token if visitor else "",
            query=request.query_params,
            path=request.url.path,
            next=_next_page(request),
            is_proxied=self._visitors.proxy is not None,
        )
        # Half of a surrogate pair has no UTF-8; browsers replace its number by U+FFFD.
        response = HTMLResponse(content.encode("utf-8", "xmlcharrefreplace"), status)
        if visitor is not None:
            self._visitors.remember(response, visitor)
        return response


def _build_fields(card: ApprovalCard) -> list[Any]:
    return build_fields(card.schema, card.arguments, card.locked_pointers)


def _parse_version(text: str) -> int:
    """Return the version that a form names; -1, which no call has, where it names none."""
    return int(text) if text.isdecimal() and len(text) <= _LONGEST_VERSION else -1


def _next_page(request: Request) -> str:
    """Return where a person goes on after signing in."""
    if request.method != "GET" and not request.url.path.startswith("/calls/"):
        return "/"
    return f"{request.url.path}?{request.url.query}".removesuffix("?")
