"""Errors as Neutron puts them on the wire: `{"NeutronError": {"type", "message", "detail"}}` with the right status.

The error tree says who must act, and that is all that decides the status. `type` is the name of Neutron's exception
class, which callers compare: operations set it as `neutron_type`; errors that have none get a plain one by status.
"""

from http import HTTPStatus
from typing import Final

import msgspec
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from gapless.errors import Conflict, GaplessError, InvalidRequest, LostRace, NotFound, Refused, Unavailable
from gapless.observe.log import get_logger

RETRY_AFTER_S: Final = "1"
INTERNAL: Final = "Request Failed: internal server error while processing your request."
_PLAIN_TYPES: Final = {
    HTTPStatus.BAD_REQUEST: "HTTPBadRequest",
    HTTPStatus.NOT_FOUND: "HTTPNotFound",
    HTTPStatus.METHOD_NOT_ALLOWED: "HTTPMethodNotAllowed",
    HTTPStatus.CONFLICT: "HTTPConflict",
    HTTPStatus.REQUEST_TIMEOUT: "HTTPRequestTimeout",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "HTTPRequestEntityTooLarge",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "HTTPUnsupportedMediaType",
    HTTPStatus.SERVICE_UNAVAILABLE: "ServiceUnavailable",
}
_WORDS: Final = {
    HTTPStatus.NOT_FOUND: "The resource could not be found.",
    HTTPStatus.METHOD_NOT_ALLOWED: "The method {method} is not allowed for this resource.",
}


class HttpBadRequest(InvalidRequest):
    """The request itself is wrong, whatever is in the store."""

    neutron_type = "HTTPBadRequest"


def status_of(error: GaplessError) -> HTTPStatus:
    """The HTTP status that says who must act."""
    match error:
        case NotFound():
            return HTTPStatus.NOT_FOUND
        case InvalidRequest():
            return HTTPStatus.BAD_REQUEST
        case LostRace() | Unavailable():
            return HTTPStatus.SERVICE_UNAVAILABLE
        case Conflict() | Refused():
            return HTTPStatus.CONFLICT
        case _:
            return HTTPStatus.INTERNAL_SERVER_ERROR


def answer(status: int, neutron_type: str, message: str, headers: dict[str, str] | None = None) -> Response:
    """An error as the caller sees it."""
    body = msgspec.json.encode({"NeutronError": {"type": neutron_type, "message": message, "detail": ""}})
    return Response(body, status, headers, media_type="application/json")


def internal_error() -> Response:
    """What a caller learns of a bug: nothing but that there is one."""
    return answer(HTTPStatus.INTERNAL_SERVER_ERROR, "HTTPInternalServerError", INTERNAL)


def install(app: FastAPI) -> None:
    """Make every GaplessError, and every refusal of the router in front of the handlers, a NeutronError."""
    app.add_exception_handler(GaplessError, _gapless_error)
    app.add_exception_handler(HTTPException, _http_error)


async def _gapless_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, GaplessError)
    status = status_of(error)
    if status is HTTPStatus.INTERNAL_SERVER_ERROR:
        raise error  # an invariant is broken: logged with its story, answered as any bug
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        get_logger().error("request refused", path=request.url.path, reason=str(error))
    headers = {"Retry-After": RETRY_AFTER_S} if status is HTTPStatus.SERVICE_UNAVAILABLE else None
    return answer(status, getattr(error, "neutron_type", _PLAIN_TYPES[status]), str(error), headers)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    words = _WORDS.get(status, error.detail).format(method=request.method)
    headers = dict(error.headers or {})
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_allowed(request))
    return answer(status, _PLAIN_TYPES.get(status, "HTTPError"), words, headers)


def _allowed(request: Request) -> list[str]:
    """The methods of a path (RFC 9110, 15.5.6). Each has a route of its own, and the router names only the first."""
    routes = [each for each in request.app.routes if each.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for each in routes for method in each.methods or ()})
