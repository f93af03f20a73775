"""What every request to the page goes through: headers, who is signed in, and sent forms."""

from typing import Annotated, NamedTuple

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bighub_langgraph.approvals.accounts import User
from bighub_langgraph.approvals.web.visitors import PageError, Visitor, Visitors, read_form

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # With "no-referrer" browsers hide where a form comes from.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class HeadersMiddleware:
    """Adds the headers of `HEADERS` to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class SignedOut(PageError):
    """The request needs somebody who is signed in."""

    def __init__(self) -> None:
        super().__init__(401, "You are signed out, so nothing was changed. Sign in to go on.")


class Submission(NamedTuple):
    """A form of this page that a signed-in user sent."""

    visitor: Visitor
    user: User
    fields: list[tuple[str, str]]

    @property
    def form(self) -> dict[str, str]:
        """The fields by name."""
        return dict(self.fields)


def _identify_visitor(request: Request) -> Visitor:
    visitors: Visitors = request.app.state.visitors
    request.state.visitor = visitor = visitors.identify(request)
    return visitor


def _require_user(request: Request) -> User:
    user = _identify_visitor(request).user
    if user is None:
        raise SignedOut
    return user


async def _read_sent_form(request: Request) -> list[tuple[str, str]]:
    """Return a form that this page made for this visitor, and nobody else's."""
    visitors: Visitors = request.app.state.visitors
    visitors.check_origin(request)
    fields = await read_form(request)
    visitor = await run_in_threadpool(_identify_visitor, request)
    if visitor.user is None and request.url.path != "/sign-in":
        raise SignedOut
    visitors.check_form(visitor, dict(fields))
    return fields


AnyVisitor = Annotated[Visitor, Depends(_identify_visitor)]
CurrentUser = Annotated[User, Depends(_require_user)]
Fields = Annotated[list[tuple[str, str]], Depends(_read_sent_form)]


def _require_submission(request: Request, fields: Fields) -> Submission:
    visitor: Visitor = request.state.visitor
    if visitor.user is None:
        raise SignedOut
    return Submission(visitor, visitor.user, fields)


CurrentSubmission = Annotated[Submission, Depends(_require_submission)]
