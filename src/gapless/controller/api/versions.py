"""`GET /` and `GET /v2.0`: where clients begin. Addresses are those that the caller used to get here."""

from starlette.requests import Request
from starlette.responses import Response

from gapless.controller.api.attributes import NETWORK, PORT, SUBNET
from gapless.controller.api.queries import base_url
from gapless.controller.api.resources import json_response

PREFIX = "/v2.0"
_CORE = (NETWORK, SUBNET, PORT)
"""What Neutron lists under its version, and nothing more; the rest is found through extensions."""


async def versions(request: Request) -> Response:
    """GET /: the one version that there is."""
    links = [{"rel": "self", "href": f"{base_url(request)}{PREFIX}/"}]
    return json_response({"versions": [{"id": "v2.0", "status": "CURRENT", "links": links}]})


async def version(request: Request) -> Response:
    """GET /v2.0/: the core resources."""
    base = f"{base_url(request)}{PREFIX}"
    resources = [
        {
            "name": each.name,
            "collection": each.collection,
            "links": [{"rel": "self", "href": f"{base}/{each.collection}"}],
        }
        for each in _CORE
    ]
    return json_response({"resources": resources})
