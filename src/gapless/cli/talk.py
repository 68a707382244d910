"""How verbs talk to a running controller, and what every one of them accepts."""

import json
import sys
import time
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import typer
from typer.core import TyperGroup

from gapless.config import API_PORT
from gapless.errors import InvalidRequest, NotFound, Unavailable
from gapless.observe import console as consoles

TIMEOUT_S = 10.0
PATIENCE_S = 30.0
"""How long the controller may be away while a verb watches what it began: that goes on, or waits, too."""
ASK_AGAIN_S = 0.5
DEFAULT_API = f"http://127.0.0.1:{API_PORT}"

_NO_TLS = "; it speaks HTTP without TLS, unless a proxy does that for it: write http://HOST:PORT"
_NO_SUCH_PATH = "The resource could not be found."
"""What Neutron's API, and ours, say of a path that nobody serves."""

Api = Annotated[
    str,
    typer.Option("--api", envvar="GAPLESS_API", metavar="URL", help="Where the controller's API is."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print what the API says, for scripts, instead of a table.")]

console = consoles.console(highlight=False, width=None if sys.stdout.isatty() else 200)
"""Into a file or a pipe lines are long, so that what is searched for stands in one."""


def get(api: str, path: str, **query: str | int | None) -> dict[str, Any]:
    """GET /v2.0/gapless/`path`. Raises Unavailable, NotFound or InvalidRequest with one line."""
    return _ask("GET", api, path, params={key: value for key, value in query.items() if value is not None})


def get_patiently(api: str, path: str) -> dict[str, Any]:
    """The same; a controller that is being restarted is waited for."""
    end_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return get(api, path)
        except Unavailable:
            if time.monotonic() >= end_s:
                raise
        time.sleep(ASK_AGAIN_S)


def put(api: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """PUT /v2.0/gapless/`path`. Raises as `get` does."""
    return _ask("PUT", api, path, json=body)


def host_path(host: str, what: str) -> str:
    """Where the API has something of a host. Raises NotFound for what is no host's name, and no path either."""
    if not host.strip("./ ") or "/" in host:
        raise NotFound(f"there is no host '{host}': `gapless status` lists those that there are")
    return f"hosts/{quote(host, safe='')}/{what}"


def _ask(method: str, api: str, path: str, **how: Any) -> dict[str, Any]:
    where = f"{api.rstrip('/').removesuffix('/v2.0')}/v2.0/gapless/{path}"  # OpenStack's catalogues have endpoints so
    try:
        answer = httpx.request(method, where, timeout=TIMEOUT_S, trust_env=False, **how)
    except httpx.TimeoutException:
        raise Unavailable(f"the controller at {api} did not answer within {TIMEOUT_S:g} s") from None
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        raise InvalidRequest(f"'{api}' is not the URL of an API: write http://HOST:PORT") from None
    except httpx.HTTPError as error:
        raise Unavailable(
            f"the controller at {api} cannot be reached ({error}): is `gapless server` running there? "
            f"Another address goes into --api or GAPLESS_API{_NO_TLS if api.startswith('https:') else ''}"
        ) from None
    return _checked(answer, api)


def _checked(answer: httpx.Response, api: str) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Unavailable(f"what answers at {api} is no Gapless controller (HTTP {answer.status_code})")
    if answer.is_success:
        return body
    fault = body.get("NeutronError", {})
    said = fault.get("message", answer.reason_phrase) if isinstance(fault, dict) else str(fault)
    if isinstance(fault, dict) and fault.get("type") == "HTTPNotFound" and said == _NO_SUCH_PATH:
        raise Unavailable(
            f"what answers at {api} does not know {answer.request.url.path}: is it Neutron itself, or a Gapless "
            "controller of another release? Another address goes into --api or GAPLESS_API"
        )
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise NotFound(said)
    if answer.is_client_error:
        raise InvalidRequest(said)
    raise Unavailable(f"the controller failed: {said}")


class FirstByDefault(TyperGroup):
    """A verb whose first command is meant where none is named, so that its options work right after the verb."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # Typer's own Click keeps the type to itself
        """As Click does, the command filled in."""
        if not args or (args[0].startswith("-") and args[0] != "--help"):
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)


def print_json(value: Any) -> None:
    """For scripts: stable, indented, on standard output."""
    print(json.dumps(value, indent=2))


def local_time(iso: str) -> str:
    """An API time in the reader's own zone, to the millisecond."""
    return datetime.fromisoformat(iso).astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def duration(milliseconds: float) -> str:
    """A duration that people can compare at a glance."""
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    if milliseconds < 600_000:
        return f"{milliseconds / 1000:.2f} s"
    return f"{milliseconds / 60_000:.0f} min"
