"""What a list request asks for: filters, fields, order, page; and the links to its neighbours.

Semantics are those of Neutron's `api_common`: a repeated filter means "any of these", different filters "all of these";
`sort_key` and `sort_dir` come in pairs; a page begins after `marker`, or with `page_reverse` ends before it, also where
the filters leave the marker out; a filter on what is no attribute is refused (its extension `filter-validation`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request

from gapless.controller.api.attributes import Attribute, Resource
from gapless.controller.api.faults import HttpBadRequest
from gapless.controller.api.validators import Malformed, Unconvertible
from gapless.controller.operations.faults import BadRequest, InvalidInput
from gapless.controller.operations.pages import Page

Item = dict[str, Any]
_RESERVED = frozenset({"fields", "sort_key", "sort_dir", "limit", "marker", "page_reverse"})
_PAIRS = frozenset({"fixed_ips"})
"""Attributes whose filters are `key=value` about the objects in a list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A parsed query string."""

    filters: Mapping[str, tuple[Any, ...]]
    """By attribute; the values in the attribute's own type where they can be of it."""
    pairs: Mapping[str, Mapping[str, tuple[str, ...]]]
    """By attribute, then by key: filters about the objects in a list."""
    since: Mapping[str, tuple[str, ...]]
    """By attribute: at one of these times, or after it."""
    narrowing: Mapping[str, tuple[Any, ...]]
    """All of them, for operations, which may look for as much of it as they like; `pairs` as they were sent."""
    fields: frozenset[str] = frozenset()
    """What to show; empty: everything."""
    sorts: tuple[tuple[str, bool], ...] = ()
    """(attribute, ascending), the most significant first; each attribute once."""
    limit: int = 0
    """Items a page; 0: all of them."""
    marker: str | None = None
    """What the item beside the page has in `paged_by`. None: there is none, or there are no pages."""
    reverse: bool = False
    paged_by: str = "id"
    """As of the resource."""

    def page(self, marker: Item | None) -> Page | None:
        """The page that is asked for, beside the item `marker` if there is one; None: everything."""
        if not self.limit:
            return None
        return Page(sorts=self.sorts, limit=self.limit, marker=marker, is_reverse=self.reverse)


def parse(resource: Resource, parameters: Sequence[tuple[str, str]]) -> Query:
    """Read a query string's pairs. Raises InvalidRequest in Neutron's words."""
    if not parameters:
        return _EVERYTHING
    values: dict[str, list[str]] = {}
    for key, value in parameters:
        values.setdefault("project_id" if key == "tenant_id" and resource.owned else key, []).append(value)
    wanted = {key: tuple(each) for key, each in values.items() if key not in _RESERVED}
    _refuse_unknown(resource, wanted)
    pairs = {key: texts for key, texts in wanted.items() if key in _PAIRS}
    filters = {
        key: tuple(_filter_value(resource.attributes[key], each) for each in texts)
        for key, texts in wanted.items()
        if key not in _PAIRS
    }
    narrowing = filters | pairs
    limit = _limit(values)
    since = {key: filters.pop(key) for key in tuple(filters) if resource.attributes[key].since}
    return Query(
        filters=filters,
        since={resource.attributes[key].since: times for key, times in since.items()},
        pairs={key: _as_pairs(texts) for key, texts in pairs.items()},
        narrowing=narrowing,
        fields=frozenset(each for each in values.get("fields", ()) if each),
        sorts=_sorts(resource, values),
        limit=limit,
        marker=(values.get("marker", [""])[0] or None) if limit else None,
        reverse=values.get("page_reverse", [""])[0].lower() == "true",
        paged_by=resource.paged_by,
    )


def select(query: Query, items: Iterable[Item], marker: Item | None = None) -> list[Item]:
    """The items asked for, whole, in the order asked for, one page of them: that beside `marker`, if there is one."""
    chosen = [item for item in items if _matches(query, item)]
    if not query.sorts and not query.limit:
        return chosen
    own = query.paged_by
    if marker is not None and all(item[own] != marker[own] for item in chosen):
        chosen.append(marker)  # it has its place in the order, and is on neither side of itself
    chosen.sort(key=lambda item: str(item[own]))  # ties have an order too, or pages would overlap
    for key, ascending in reversed(query.sorts):
        chosen.sort(key=_order_by(key), reverse=not ascending)
    return _page(query, chosen) if query.limit else chosen


def links(query: Query, request: Request, page: Sequence[Item]) -> list[dict[str, str]]:
    """Where the next and the previous page are, as Neutron decides whether there may be one."""
    if not query.limit:
        return []
    found = []
    full = len(page) >= query.limit
    if full or query.reverse:
        found.append({"rel": "next", "href": _link(query, request, page[-1:], reverse=False)})
    if full or not query.reverse:
        found.append({"rel": "previous", "href": _link(query, request, page[:1], reverse=True)})
    return found


def base_url(request: Request) -> str:
    """Scheme and authority that the caller used, a proxy in front of us included."""
    scheme = request.headers.get("x-forwarded-proto") or request.url.scheme
    return f"{scheme}://{request.url.netloc}"


_EVERYTHING = Query(filters={}, pairs={}, since={}, narrowing={})


def _refuse_unknown(resource: Resource, wanted: Iterable[str]) -> None:
    unknown = [key for key in wanted if key not in resource.attributes or not resource.attributes[key].filters]
    if unknown:
        raise HttpBadRequest(f"{unknown} is invalid attribute for filtering")


def _filter_value(attribute: Attribute, text: str) -> Any:
    try:
        return attribute.check(text)
    except Unconvertible as error:
        raise InvalidInput(str(error)) from None
    except Malformed:
        return text  # nothing has this value, and asking for it is no error


def _as_pairs(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    pairs: dict[str, tuple[str, ...]] = {}
    for text in texts:
        key, found, value = (part.strip() for part in text.partition("="))
        if not (key and found):
            raise InvalidInput(f"'{text}' is not of the form <key>=[value]")
        pairs[key] = (*pairs.get(key, ()), value)
    return pairs


def _sorts(resource: Resource, values: Mapping[str, Sequence[str]]) -> tuple[tuple[str, bool], ...]:
    keys = [key for key in values.get("sort_key", ()) if key]
    directions = [direction for direction in values.get("sort_dir", ()) if direction]
    if len(keys) != len(directions):
        raise HttpBadRequest("The number of sort_keys and sort_dirs must be same")
    keys = ["project_id" if key == "tenant_id" and resource.owned else key for key in keys]
    if unknown := [key for key in keys if key not in resource.attributes or not resource.attributes[key].sorts]:
        raise HttpBadRequest(f"{unknown} is invalid attribute for sort_keys")
    if wrong := [direction for direction in directions if direction not in ("asc", "desc")]:
        raise HttpBadRequest(f"{wrong} is invalid value for sort_dirs, valid value is 'asc' and 'desc'")
    rises: dict[str, bool] = {}
    for key, direction in zip(keys, directions, strict=True):
        rises.setdefault(key, direction == "asc")  # what is equal in a key is not told apart by it again
    return tuple(rises.items())


def _limit(values: Mapping[str, Sequence[str]]) -> int:
    text = values.get("limit", ["0"])[0]
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise BadRequest("limit", f"Limit must be an integer 0 or greater and not '{text}'")
    return int(text)


def _matches(query: Query, item: Item) -> bool:
    return (
        all(_is_among(item.get(key), wanted) for key, wanted in query.filters.items())
        and all(_any_object_matches(item.get(key) or (), wanted) for key, wanted in query.pairs.items())
        and all(item[key] >= min(times) for key, times in query.since.items())
    )


def _is_among(value: Any, wanted: tuple[Any, ...]) -> bool:
    return value in wanted or (value is not None and str(value) in wanted)


def _any_object_matches(objects: Iterable[Mapping[str, Any]], wanted: Mapping[str, tuple[str, ...]]) -> bool:
    held = list(objects)
    return all(any(_object_matches(each, key, values) for each in held) for key, values in wanted.items())


def _object_matches(each: Mapping[str, Any], key: str, values: tuple[str, ...]) -> bool:
    if key.endswith("_substr"):
        return any(value in str(each.get(key.removesuffix("_substr"), "")) for value in values)
    return each.get(key) in values


def _order_by(key: str) -> Callable[[Item], tuple[int, Any]]:
    """None comes first, as in Neutron; what is left is of one type for each attribute."""

    def order(item: Item) -> tuple[int, Any]:
        value = item.get(key)
        return (0, 0) if value is None else (1, value)

    return order


def _page(query: Query, items: list[Item]) -> list[Item]:
    start = len(items) if query.reverse else 0
    if query.marker is not None:
        position = next((at for at, item in enumerate(items) if item[query.paged_by] == query.marker), None)
        if position is None:
            return []
        start = position if query.reverse else position + 1
    if query.reverse:
        return items[max(start - query.limit, 0) : start]
    return items[start : start + query.limit]


def _link(query: Query, request: Request, edge: Sequence[Item], *, reverse: bool) -> str:
    sent = request.query_params.multi_items()
    parameters = [(key, value) for key, value in sent if key not in ("marker", "page_reverse")]
    if edge:
        parameters.append(("marker", str(edge[0][query.paged_by])))
    if reverse:
        parameters.append(("page_reverse", "True"))
    return f"{base_url(request)}{request.url.path}?{urlencode(parameters)}"
