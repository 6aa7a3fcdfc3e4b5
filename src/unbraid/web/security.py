"""Who may ask, and what browsers may do with the answers."""

from __future__ import annotations

import asyncio
import hmac
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unbraid.web.config import ServeConfig

COOKIE = "unbraid_token"
OPEN_PATHS = ("/", "/health", "/api/login")
"""What needs no token, besides the files of the page itself."""

_MOST_HEADER_BYTES = 1 << 14
_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
_SAFE = ("GET", "HEAD")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}
_WRONG_TOKEN_SECONDS = 0.5
"""What a wrong guess costs."""


class Guard:
    """Stands before everything else: names of the host, requests from other pages, the token, and headers."""

    def __init__(self, app: ASGIApp, config: ServeConfig) -> None:
        self._app, self._config = app, config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        headers = Headers(scope=scope)
        if refusal := self._refusal(scope, headers):
            status, sentence = refusal
            if status == 401 and given_token(headers):
                await asyncio.sleep(_WRONG_TOKEN_SECONDS)
            await JSONResponse({"detail": sentence}, status)(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        if sum(len(name) + len(value) for name, value in headers.raw) > _MOST_HEADER_BYTES:
            return 431, "the headers of this request are too long"
        if not scope["query_string"].isascii():
            return 400, "this address has bytes in it that are no ASCII: write them as %C3%A9"
        host = headers.get("host", "")
        # Another site's name may be made to lead here (DNS rebinding); then the browser sends that name.
        if self._config.is_local and self._config.token is None and _without_port(host) not in _LOCAL_NAMES:
            return 403, f"this server is not called '{_without_port(host)[:100]}': open it as localhost"
        if scope["method"] not in _SAFE:
            # Forms of other sites reach this server from a visitor's browser, which says where they come from.
            site = headers.get("sec-fetch-site", "none")
            origin = headers.get("origin")
            if site not in ("same-origin", "none") or (origin is not None and origin.partition("://")[2] != host):
                return 403, "this request comes from another site"
        path = scope["path"]
        if self._config.token is None or path in OPEN_PATHS or path.startswith("/static/"):
            return None
        if not self._knows_token(given_token(headers)):
            return 401, "this server asks for its token: unbraid serve prints it where it was started"
        return None

    def _knows_token(self, given: str) -> bool:
        return is_token(given, self._config)


def is_token(given: str, config: ServeConfig) -> bool:
    """Compared in a time that does not depend on how much of it is right."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), (config.token or "").encode())


def given_token(headers: Headers) -> str:
    """From a program's header or a browser's cookie; empty where there is none."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return token.strip()
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookies[COOKIE].value if COOKIE in cookies else ""


def _without_port(host: str) -> str:
    return host if host.endswith("]") else host.rpartition(":")[0] or host
