"""Which names callers may call the API by: the guard against DNS rebinding.

A page in the browser of somebody who can reach the API may not ask it for anything: it is of another origin, and the
API answers no preflight. But whoever serves the page may let the page's own name lead to the API's address for a while,
and then it is of the same origin. What gives it away is the name, which the browser sends as Host. So addresses are
taken (no name that anybody could redirect), `localhost`, and names that the operator gave; on loopback nothing else. An
API that others are meant to reach takes any name until the operator gives some.

Bodies are taken as JSON only (`bodies.read`): what a page may send elsewhere without asking first is never that.

Sources: RFC 9110, 7.4 and 15.5.20 (421); as etcd (`--host-whitelist`) and Jupyter (`allow_remote_access`) do it.
"""

from http import HTTPStatus
from ipaddress import ip_address
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from gapless.config import ServerSettings
from gapless.controller.api.faults import answer

_LOCAL: Final = "localhost"


class Names:
    """ASGI middleware: refuses what is addressed to a name that is not ours."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app = app
        self._names = frozenset(name.lower() for name in (*settings.api_names, settings.api.host))
        self._takes_any = not settings.api_names and not _is_local(settings.api.host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            host = Headers(scope=scope).get("host", "")
            if not self._takes(_name_of(host)):
                await _refusal(host)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _takes(self, name: str) -> bool:
        # A browser always says Host; what says none is no page.
        return self._takes_any or not name or name in self._names or _is_address(name) or _is_local_name(name)


def _refusal(host: str) -> ASGIApp:
    shown = "".join(letter if letter.isprintable() else "?" for letter in host[:100])
    return answer(
        HTTPStatus.MISDIRECTED_REQUEST,
        "HTTPMisdirectedRequest",
        f"This API is not called '{shown}'. Use its address, or start the controller with --api-name for each name "
        "that clients may use.",
    )


def _name_of(host: str) -> str:
    """The name in a Host header: without port, without the dot at its end, in lower case."""
    name = host.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0].removesuffix(".")


def _is_local(host: str) -> bool:
    return ip_address(host).is_loopback if _is_address(host) else _is_local_name(host)


def _is_local_name(name: str) -> bool:
    """RFC 6761, 6.3: these always lead to the machine that asks."""
    return name == _LOCAL or name.endswith(f".{_LOCAL}")


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
