"""The outermost layer: each request gets an id, an answer, a place in the metrics, and a log line if it may write.

It is the supervisor of requests: an error that nobody expected ends here, with its story in the log under the
request's id, and the caller learns the id and nothing else. Plain ASGI, since it stands in the way of every request.
"""

import time
from http import HTTPStatus
from typing import Final
from uuid import uuid4

from prometheus_client import CollectorRegistry, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gapless.controller.api.faults import internal_error
from gapless.observe.log import get_logger

REQUEST_ID: Final = "x-openstack-request-id"
_BUCKETS_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_LOOKING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_METHODS: Final = _LOOKING | {"POST", "PUT", "PATCH", "DELETE"}
"""What else callers make up is one label: the metric must not grow with it."""


class Edge:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self._app = app
        self._durations = Histogram(
            "gapless_api_request_seconds",
            "Time to answer a request of the API.",
            ["method", "route", "status"],
            buckets=_BUCKETS_S,
            registry=registry,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = f"req-{uuid4()}"
        began_s = time.perf_counter()
        status: int | None = None

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                message.setdefault("headers", []).append((REQUEST_ID.encode(), request_id.encode()))
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:  # noqa: BLE001 -- the supervisor of one request: no bug may take others with it
            get_logger().exception("request failed", request=request_id, path=scope["path"], error=repr(error))
            if status is None:
                await internal_error()(scope, receive, send_with_id)
        self._note(scope, request_id, status or HTTPStatus.INTERNAL_SERVER_ERROR, time.perf_counter() - began_s)

    def _note(self, scope: Scope, request_id: str, status: int, took_s: float) -> None:
        method = scope["method"]
        named = method if method in _METHODS else "other"
        self._durations.labels(named, _route(scope), str(status)).observe(took_s)
        log = get_logger()
        say = log.debug if method in _LOOKING else log.info
        say("request", method=method, path=scope["path"], status=status, took_ms=took_s * 1e3, request=request_id)


def _route(scope: Scope) -> str:
    """The path without ids, so that the metric has few labels; what no route matched is one of them."""
    return getattr(scope.get("route"), "path", "none")
