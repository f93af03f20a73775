"""What every request to the page goes through: headers, who is signed in, and sent forms."""

from typing import Annotated, NamedTuple

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool

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
SIGN_IN_PATH = "/sign-in"


class SignedOut(PageError):
    """The request needs somebody who is signed in."""

    def __init__(self) -> None:
        super().__init__(401, "You are signed out, so nothing was changed. Sign in to go on.")


class Submission(NamedTuple):
    """A form of this page that a visitor sent: a signed-in one, except for the form to sign in."""

    visitor: Visitor
    fields: list[tuple[str, str]]

    @property
    def form(self) -> dict[str, str]:
        """The fields by name."""
        return dict(self.fields)

    @property
    def user(self) -> User:
        """Who is signed in."""
        return require_user(self.visitor)


def _identify_visitor(request: Request) -> Visitor:
    visitors: Visitors = request.app.state.visitors
    request.state.visitor = visitor = visitors.identify(request)
    return visitor


AnyVisitor = Annotated[Visitor, Depends(_identify_visitor)]


def require_user(visitor: AnyVisitor) -> User:
    """Return who is signed in, or refuse the request."""
    if visitor.user is None:
        raise SignedOut
    return visitor.user


async def _read_submission(request: Request) -> Submission:
    """Return a form that this page made for this visitor, and nobody else's."""
    visitors: Visitors = request.app.state.visitors
    visitors.check_origin(request)
    fields = await read_form(request)
    visitor = await run_in_threadpool(_identify_visitor, request)
    if request.url.path != SIGN_IN_PATH:
        require_user(visitor)
    visitors.check_form(visitor, dict(fields))
    return Submission(visitor, fields)


CurrentUser = Annotated[User, Depends(require_user)]
CurrentSubmission = Annotated[Submission, Depends(_read_submission)]
