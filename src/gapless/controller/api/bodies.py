"""From the bytes of a request to values that operations can work with.

Everything that can be said about a body without looking into the store is said here, by the attribute map: is it
JSON, is it wrapped as it should be, is each attribute known, allowed in this request and well-formed, is one missing.
The order of the checks and their words are Neutron's (`neutron.api.v2.base`, `neutron_lib.api.attributes`).
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from gapless.controller.api.attributes import Attribute, Resource
from gapless.controller.api.faults import HttpBadRequest
from gapless.controller.api.validators import Malformed, Unconvertible
from gapless.controller.operations.faults import BadRequest, InvalidInput

Values = dict[str, Any]

MAX_BYTES = 1 << 20
"""A bulk request of some thousand ports; what is longer is a mistake or an attack."""
MOST_DEEP = 16
"""Objects and lists in one another; a bulk request for routers with gateways has seven."""
MOST_AT_ONCE = 500
"""Resources in one bulk request. They are one transaction, and as long as it lasts no binding can be stored."""
MOST_ITEMS_AT_ONCE = 5000
"""Items of all their lists together, such as addresses: each may cost as much as a resource of its own."""
READ_TIMEOUT_S = 30.0
"""A caller that takes longer to send its body is gone. It holds nothing but its own connection until then."""


async def read(request: Request) -> Any:
    """The body as JSON; None if there is none. Read to its end before any transaction begins."""
    refuse_constraint(request)
    chunks, size = [], 0
    try:
        async with asyncio.timeout(READ_TIMEOUT_S):
            async for chunk in request.stream():
                size += len(chunk)
                if size > MAX_BYTES:
                    raise HTTPException(413, f"A request body may have {MAX_BYTES} bytes.")
                chunks.append(chunk)
    except TimeoutError:
        raise HTTPException(408, f"The request body did not arrive within {READ_TIMEOUT_S:g} seconds.") from None
    except ClientDisconnect:
        raise HttpBadRequest("The connection closed before the request body was complete") from None
    if not size:
        return None
    if not _is_json(request.headers.get("content-type", "")):
        raise HTTPException(415, "A request body must be JSON: say so with the header Content-Type: application/json.")
    try:
        body = msgspec.json.decode(b"".join(chunks))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # The second is for a string that is not UTF-8, such as a name in Latin-1.
        raise HttpBadRequest("Body contains invalid data") from None
    if _is_deep(body):
        raise HttpBadRequest("Body contains invalid data")
    return body


def _is_deep(body: Any) -> bool:
    """Whether it is nested beyond all use: Python can read more than it can write into a message that refuses it."""
    level = [body]
    for _ in range(MOST_DEEP):
        level = [inner for each in level if isinstance(each, dict) for inner in each.values()] + [
            inner for each in level if isinstance(each, list) for inner in each
        ]
        if not level:
            return False
    return True


def refuse_constraint(request: Request) -> None:
    """For whatever changes something: a condition that cannot be kept is refused, in quotes or without them."""
    if any("revision_number=" in each for each in request.headers.getlist("if-match")):
        raise BadRequest("if-match", "This server does not support constraining operations based on revision numbers")


def _is_json(content_type: str) -> bool:
    """What is no JSON, or does not say so, may come from a page in somebody's browser, which may send it unasked."""
    return content_type.partition(";")[0].strip().lower() == "application/json"


def created(resource: Resource, body: Any) -> tuple[list[Values], bool]:
    """The values of each resource that a POST asks for, defaults filled in; and whether it was a bulk request."""
    if not isinstance(body, dict) or not body:
        raise HttpBadRequest("Resource body required" if not body else "Body contains invalid data")
    if resource.collection in body:
        items = body[resource.collection]
        if not items:
            raise HttpBadRequest("Resources required")
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise HttpBadRequest("Body contains invalid data")
        if len(items) > MOST_AT_ONCE:
            raise HttpBadRequest(
                f"A bulk request may create {MOST_AT_ONCE} {resource.collection} at once, and not {len(items)}: send "
                "several requests"
            )
        if (listed := sum(map(_listed, items))) > MOST_ITEMS_AT_ONCE:
            raise HttpBadRequest(
                f"The lists in a bulk request may have {MOST_ITEMS_AT_ONCE} items together, and not {listed}: send "
                "several requests"
            )
        wrapped = (item if resource.name in item else {resource.name: item} for item in items)
        return [_for_post(resource, _unwrapped(resource, item)) for item in wrapped], True
    return [_for_post(resource, _unwrapped(resource, body))], False


def _listed(value: Any) -> int:
    """How many items its lists have, those in lists included."""
    if isinstance(value, dict):
        return sum(map(_listed, value.values()))
    return len(value) + sum(map(_listed, value)) if isinstance(value, list) else 0


def updated(resource: Resource, body: Any) -> Values:
    """The values that a PUT changes."""
    if not isinstance(body, dict) or not body:
        raise HttpBadRequest("Resource body required" if not body else "Body contains invalid data")
    sent = _owned(resource, _unwrapped(resource, body))
    _refuse_unknown(resource, sent)
    for key in sent:
        if key not in resource.putable:
            raise HttpBadRequest(f"Cannot update read-only attribute {key}")
    return _checked(resource, sent)


def checked_value(name: str, attribute: Attribute, value: Any) -> Any:
    """One value, checked; raises InvalidRequest in Neutron's words."""
    try:
        return attribute.check(value)
    except Unconvertible as error:
        raise InvalidInput(str(error)) from None
    except Malformed as error:
        raise HttpBadRequest(f"Invalid input for {name}. Reason: {error}.") from None


def _unwrapped(resource: Resource, body: Mapping[str, Any]) -> Values:
    item = body.get(resource.name)
    if item is None:
        raise HttpBadRequest(f"Unable to find '{resource.name}' in request body")
    if not isinstance(item, dict):
        raise HttpBadRequest(f"Object '{resource.name}' contains invalid data")
    return item


def _for_post(resource: Resource, item: Values) -> Values:
    sent = _owned(resource, item)
    _refuse_unknown(resource, sent)
    for key in sent:
        if key not in resource.postable:
            raise HttpBadRequest(f"Attribute '{key}' not allowed in POST")
    for key in resource.required:
        if key not in sent:
            raise HttpBadRequest(f"Failed to parse request. Required attribute '{key}' not specified")
    defaults = {key: list(value) if isinstance(value, tuple) else value for key, value in resource.defaults.items()}
    return defaults | _checked(resource, sent)


def _owned(resource: Resource, item: Values) -> Values:
    """The same with `tenant_id` under its present name."""
    if not resource.owned or "tenant_id" not in item:
        return item
    project = item["tenant_id"]
    if item.get("project_id", project) != project:
        raise HttpBadRequest("'project_id' and 'tenant_id' do not match")
    return {key: value for key, value in item.items() if key != "tenant_id"} | {"project_id": project}


def _refuse_unknown(resource: Resource, item: Values) -> None:
    if unknown := [key for key in item if key not in resource.attributes]:
        raise HttpBadRequest(f"Unrecognized attribute(s) '{', '.join(unknown)}'")


def _checked(resource: Resource, item: Values) -> Values:
    values = {}
    for key, value in item.items():
        attribute = resource.attributes[key]
        checked = checked_value(key, attribute, value)
        if attribute.meant:
            values[key] = checked
    return values
