"""Who sends a request to the page, and which requests are refused: sessions, proxies, forms."""

import hmac
import ipaddress
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Annotated, NamedTuple
from urllib.parse import parse_qsl

from fastapi import Depends, Request, Response
from fastapi.concurrency import run_in_threadpool

from bighub_langgraph.approvals.accounts import VIEWER, Accounts, User
from bighub_langgraph.core.errors import ConfigurationError
from bighub_langgraph.core.urls import is_web_url, split_url
from bighub_langgraph.local.server import is_loopback

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
SESSION_COOKIE = "bighub_session"
# Of visitors without a session; the forms that they send are bound to it.
FORM_COOKIE = "bighub_form"
SECRET_HEADER = "X-Bighub-Proxy-Secret"  # noqa: S105 - its name
FORM_BYTES = 1_000_000
MAX_FIELDS = 5000
_SHORTEST_SECRET = 16

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class PageError(Exception):
    """A request is refused; the page says why, in a sentence for people."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class SignedOut(PageError):
    """The request needs somebody who is signed in."""

    def __init__(self) -> None:
        super().__init__(401, "You are signed out, so nothing was changed. Sign in to go on.")


@dataclass(frozen=True, slots=True)
class TrustedProxy:
    """A proxy that signs people in and names them in a header.

    It must remove that header and `X-Bighub-Proxy-Secret` from what browsers send, and set both.
    """

    header: str
    networks: tuple[Network, ...]
    secret: str = field(repr=False)

    @classmethod
    def of(cls, header: str, addresses: tuple[str, ...], secret: str) -> "TrustedProxy":
        """Return the proxy with these addresses or networks.

        Raises:
            ConfigurationError: Something is missing or cannot be used.
        """
        if not addresses or len(secret) < _SHORTEST_SECRET:
            raise ConfigurationError(
                "a trusted header needs the proxy's address and a secret of at least "
                f"{_SHORTEST_SECRET} characters: --proxy and --proxy-secret-file"
            )
        return cls(header, parse_networks("--proxy", addresses), secret)

    def find_name(self, request: Request) -> str:
        """Return the name of the person whom the proxy signed in.

        Raises:
            PageError: The request is not the proxy's, or a header is missing or repeated.
        """
        address = ipaddress.ip_address(request.client.host) if request.client else None
        address = getattr(address, "ipv4_mapped", None) or address
        keys = request.headers.getlist(SECRET_HEADER)
        if (
            address is None
            or not any(address in network for network in self.networks)
            or len(keys) != 1
            or not hmac.compare_digest(keys[0].encode(), self.secret.encode())
        ):
            raise PageError(403, "this page is only reached through its proxy, which signs you in")
        try:
            [name] = request.headers.getlist(self.header)
            name = name.encode("latin-1").decode()
        except ValueError:
            name = ""
        if not name.strip() or not name.isprintable():
            raise PageError(403, "the proxy did not name exactly one person")
        return name.strip()


def parse_networks(option: str, addresses: Iterable[str]) -> tuple[Network, ...]:
    """Return addresses and networks that an option names.

    Raises:
        ConfigurationError: One of them is none; "*" is none either.
    """
    try:
        return tuple(ipaddress.ip_network(address) for address in addresses)
    except ValueError as error:
        raise ConfigurationError(f"{option}: {error}") from error


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who sends a request.

    Attributes:
        token: The session's token, or the value of the form cookie.
        is_new: Whether the form cookie has to be set.
    """

    user: User | None
    token: str
    is_new: bool = False

    @property
    def form_token(self) -> str:
        """What this visitor's forms contain, and nobody else's."""
        return hmac.new(self.token.encode(), b"form", sha256).hexdigest()


class Visitors:
    """Finds out who sends a request, and refuses those that a page of another site sends.

    Attributes:
        public_url: Where people open the page; None on this machine only.
        proxy: Who signs people in, instead of the page itself.
    """

    def __init__(
        self,
        accounts: Accounts,
        *,
        public_url: str | None = None,
        proxy: TrustedProxy | None = None,
    ) -> None:
        self._accounts = accounts
        self.proxy = proxy
        url = split_url(public_url or "")
        if public_url and not is_web_url(public_url):
            raise ConfigurationError(f"--public-url is an https:// URL, not {public_url!r}")
        if url.scheme == "http" and not is_loopback(str(url.hostname)):
            raise ConfigurationError(
                "--public-url must be https: over http, passwords and sessions can be read on the "
                "way"
            )
        self._origin = f"{url.scheme}://{url.netloc}" if public_url else None
        self.is_secure = url.scheme == "https"

    def identify(self, request: Request) -> Visitor:
        """Return the visitor who sends a request."""
        if self.proxy is not None:
            name = self.proxy.find_name(request)
            user: User | None = self._accounts.find(name) or User(name, frozenset({VIEWER}))
        else:
            token = request.cookies.get(SESSION_COOKIE, "")
            user = self._accounts.find_session(token) if token else None
            if user is not None:
                return Visitor(user, token)
        if token := request.cookies.get(FORM_COOKIE, ""):
            return Visitor(user, token)
        return Visitor(user, secrets.token_urlsafe(32), is_new=True)

    def check_host(self, request: Request) -> None:
        """Refuse other host names than the page's own: a name of another site may point here."""
        host = request.headers.get("host", "")
        if not _is_local(host) and f"//{host}" != (self._origin or "").partition(":")[2]:
            raise PageError(400, "this page has another name; open it by its --public-url")

    def check_origin(self, request: Request) -> None:
        """Refuse what a page of another site has a browser send."""
        origin = request.headers.get("origin", "")
        host = request.headers.get("host", "")
        site = request.headers.get("sec-fetch-site", "same-origin")
        own = {self._origin, f"http://{host}"} if _is_local(host) else {self._origin}
        if origin not in own or site != "same-origin":
            raise PageError(403, "this form was not sent by this page, so nothing was changed")

    def check_form(self, visitor: Visitor, form: Mapping[str, str]) -> None:
        """Refuse a form that was not made for this visitor."""
        if not hmac.compare_digest(
            form.get("form_token", "").encode(), visitor.form_token.encode()
        ):
            raise PageError(
                403, "this form is not yours or is out of date, so nothing was changed; try again"
            )

    def set_session(self, response: Response, token: str) -> None:
        """Sign the browser in."""
        self._set_cookie(response, SESSION_COOKIE, token)
        response.delete_cookie(FORM_COOKIE)

    def remember(self, response: Response, visitor: Visitor) -> None:
        """Set the form cookie of a visitor without a session."""
        if visitor.is_new:
            self._set_cookie(response, FORM_COOKIE, visitor.token)

    def _set_cookie(self, response: Response, name: str, value: str) -> None:
        # Not "strict": then a link in a message would show the sign-in page to who is signed in.
        response.set_cookie(name, value, httponly=True, samesite="lax", secure=self.is_secure)


async def read_form(request: Request) -> list[tuple[str, str]]:
    """Return the fields of a form that was sent.

    Raises:
        PageError: It is too large, or has too many fields.
    """
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > FORM_BYTES:
            raise PageError(413, "this is too long to be sent as an answer")
    text = content.decode("utf-8", "replace")
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="replace")
    except ValueError as error:
        raise PageError(413, "this has too many fields to be sent as an answer") from error


def find_client(request: Request) -> str:
    """Return the address from which a request comes.

    Of IPv6 it is the network: a client has all addresses of a /64.
    """
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address) or address.ipv4_mapped:
        return host
    return str(ipaddress.ip_network((address, 64), strict=False))


def _is_local(host: str) -> bool:
    """Whether the `Host` header of a request names this machine."""
    return is_loopback(split_url(f"//{host}").hostname or "")


# -- what endpoints depend on ----------------------------------------------------------------------


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
