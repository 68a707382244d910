"""What routers are called: how people name one to a verb, and how tables show them.

A name says what a router is for, and need not be its own; an id is its own, and nobody reads it. So a table shows the
name, cut to a sixth of the line, with as many digits of the id as no other router there begins with. What a table shows
can be given to a verb: a name, or how an id begins.

Rules
- A whole id is taken as it is, and nobody is asked: moves are recorded of routers that are gone.
- Routers that there are come first, then those of which only moves are recorded; among either, a name comes before an
  id that begins so.
- What may mean several means none: the refusal lists them.
"""

from collections.abc import Iterable
from itertools import pairwise, takewhile
from uuid import UUID

from rich.text import Text

from gapless.cli.talk import console, get
from gapless.errors import InvalidRequest, NotFound

DIGITS = 8
"""Of an id, at least: its first group."""
SHARE = 6
"""A name gets one column in so many."""
MOST_MOVES = 10_000
"""As many as the API tells at a time."""
LISTED = 5
"""Of those that may be meant."""

Names = dict[str, str]
"""By id, whole."""


def meant(api: str, text: str) -> str:
    """The id of the router that `text` means. Raises NotFound, InvalidRequest with those that it may mean."""
    if (whole := _id(text)) is not None:
        return whole
    for source in (present, _recorded):
        if found := _matching(text, source(api)):
            return _only(text, found)
    raise NotFound(
        f"no router is called '{printable(text)}', and no router's id begins so: `gapless status` lists those that "
        "there are, `gapless failovers` those that moved"
    )


def present(api: str) -> Names:
    """Of the routers that there are."""
    return {each["router_id"]: each["name"] for each in get(api, "routers")["routers"]}


def short_ids(ids: Iterable[str]) -> dict[str, str]:
    """How each of these begins as no other does, in eight digits or more."""
    inner = sorted(set(ids))
    shared = [_shared(*pair) for pair in pairwise(inner)]
    lengths = (max(DIGITS, before + 1, after + 1) for before, after in zip([0, *shared], [*shared, 0], strict=True))
    return {id_: id_[:length] for id_, length in zip(inner, lengths, strict=False)}


def shown(name: str, short_id: str) -> Text:
    """A router in a table. What the table would take for marks of its own stands there as it is."""
    if not name:
        return Text(short_id)
    cut = Text(printable(name))
    cut.truncate(console.width // SHARE, overflow="ellipsis")
    return cut.append(f" ({short_id})")


def printable(name: str) -> str:
    """A name without what a terminal would obey: the API takes what turns the direction of writing (Cf) and what parts
    lines (U+2028), and what the store has from elsewhere may have anything in it."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def _recorded(api: str) -> Names:
    """Of the routers that moved: the name that each had last."""
    moves = get(api, "failovers", limit=MOST_MOVES)["failovers"]
    return {each["router_id"]: each["router_name"] for each in reversed(moves)}


def _matching(text: str, names: Names) -> Names:
    if not text:
        return {}
    called = {id_: name for id_, name in names.items() if name == text}
    return called or {id_: name for id_, name in names.items() if id_.startswith(text.lower())}


def _only(text: str, found: Names) -> str:
    if len(found) > 1:
        listed = [f"{id_} ({printable(name)})" if name else id_ for id_, name in sorted(found.items())]
        more = f", and {len(found) - LISTED} more" if len(found) > LISTED else ""
        raise InvalidRequest(
            f"'{printable(text)}' may mean several routers: {', '.join(listed[:LISTED])}{more}. Give more of the id"
        )
    return next(iter(found))


def _shared(one: str, other: str) -> int:
    """How many characters both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _id(text: str) -> str | None:
    try:
        return str(UUID(text))
    except ValueError:
        return None
