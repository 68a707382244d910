"""Lists in SQL: filters, order and page of a list request, as far as they are about plain columns.

The rule: what is left out here would be left out by `api/queries` too, which looks once more at all that comes from
here. Each filter on a column narrows. A page is cut only where every filter and every sort key is a column: of rows
that a filter leaves out later, or that are in another order, any number of the first ones says nothing.

So a column has to compare as what is shown of it does: numbers are filtered as the text that callers may send, times
have whole seconds, and nothing (NULL) comes first in an order that rises and last in one that falls. The last is said
in each query: it is SQLite's habit, and not PostgreSQL's.

Rows come in no order; pages are put into theirs by `api/queries`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Integer,
    Select,
    String,
    UnaryExpression,
    and_,
    case,
    cast,
    false,
    func,
    or_,
    type_coerce,
)
from sqlalchemy.orm import InstrumentedAttribute

from gapless.controller.store.tables import AddressText, NetworkText, Timestamped, UtcDateTime

R = TypeVar("R")
Filters = Mapping[str, Sequence[Any]]
"""By attribute: any of these values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column that an attribute is shown from."""

    text: ColumnElement[str]
    """What is shown, as text."""
    rank: ColumnElement[Any]
    """What sorts as that which is shown."""
    is_since: bool = False
    """It filters what is not before a time."""

    def is_among(self, values: Sequence[Any]) -> ColumnElement[bool]:
        """Whether a filter with these values leaves a row in."""
        if self.is_since:
            earliest: str = min(values)
            return self.text >= earliest
        among = self.text.in_([str(value) for value in values if value is not None])
        return or_(among, self.text.is_(None)) if None in values else among

    def order(self, *, rises: bool) -> UnaryExpression[Any]:
        """This order, or the opposite."""
        return self.rank.asc().nulls_first() if rises else self.rank.desc().nulls_last()

    def is_same(self, value: Any) -> ColumnElement[bool]:
        """Whether a row has its place where `value` is."""
        return self.rank.is_(None) if value is None else self.rank == value

    def is_after(self, value: Any, *, rises: bool) -> ColumnElement[bool]:
        """Whether a row has its place behind `value`."""
        if value is None:
            return self.rank.is_not(None) if rises else false()
        return self.rank > value if rises else or_(self.rank < value, self.rank.is_(None))


Columns = Mapping[str, Column]
"""By attribute."""


def columns(row: type[Timestamped], others: Mapping[str, InstrumentedAttribute[Any]]) -> Columns:
    """The plain columns of a resource: those that all have, and others by their attributes."""
    standard: dict[str, InstrumentedAttribute[Any]] = {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "project_id": row.project_id,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "revision_number": row.revision_number,
    }
    found = {attribute: _column(stored) for attribute, stored in (standard | dict(others)).items()}
    changed = found["updated_at"]
    return found | {"changed_since": Column(text=changed.text, rank=changed.rank, is_since=True)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """So many items of a list, in an order, beside one of them."""

    sorts: tuple[tuple[str, bool], ...]
    """(attribute, ascending), the most significant first; what is left is in the order of ids, which rises."""
    limit: int
    marker: Mapping[str, Any] | None
    """The item, as it is shown, that the page begins after; None: it begins with the first."""
    is_reverse: bool
    """It ends before the marker, or with the last."""

    def cut(self, query: Select[R], columns: Columns) -> Select[R]:
        """Those rows of a query that are on the page.

        It is cut from ids alone: what belongs to a row is joined to a page of them, and not to all.
        """
        id_ = columns["id"].rank
        keys = [(each, columns[each], ascends is not self.is_reverse) for each, ascends in self.sorts]
        order = [column.order(rises=rises) for _, column, rises in keys]
        ids = query.with_only_columns(id_).limit(self.limit).correlate(None)
        ids = ids.order_by(*order, id_.desc() if self.is_reverse else id_.asc())
        if self.marker is not None:
            is_after = id_ < self.marker["id"] if self.is_reverse else id_ > self.marker["id"]
            for attribute, column, rises in reversed(keys):
                value = _comparable(self.marker[attribute])
                is_after = or_(column.is_after(value, rises=rises), and_(column.is_same(value), is_after))
            ids = ids.where(is_after)
        return query.where(id_.in_(ids))


def narrowed(query: Select[R], columns: Columns, filters: Filters, page: Page | None) -> Select[R]:
    """The rows of a query that filters on columns leave in; of these the page, if it can be cut."""
    query = query.where(*(columns[each].is_among(values) for each, values in filters.items() if each in columns))
    if page is None or not columns.keys() >= {*filters, *(each for each, _ in page.sorts)}:
        return query
    return page.cut(query, columns)


def _column(stored: InstrumentedAttribute[Any]) -> Column:
    """Raises TypeError for what compares otherwise than it is shown."""
    match stored.type:
        case UtcDateTime():  # SQLite has it as 2026-01-31 12:00:00.000000
            day_and_time = func.substr(type_coerce(stored, String), 1, 19)
            shown = func.replace(day_and_time, " ", "T", type_=String).concat("Z")
            return Column(text=shown, rank=shown)
        case Boolean():
            return Column(text=case((stored, "True"), else_="False"), rank=type_coerce(stored, Integer))
        case Integer():
            return Column(text=cast(stored, String), rank=type_coerce(stored, Integer))
        case String() | AddressText() | NetworkText():
            text = type_coerce(stored, String)
            return Column(text=text, rank=text)
    raise TypeError(f"{stored} is no plain column")


def _comparable(shown: Any) -> Any:
    return int(shown) if isinstance(shown, bool) else shown
