"""How much an object holds on to: the number of things in each of its collections, however deep.

To see that nothing is kept of what is gone: what an object holds after many came and went is what it held after few.
"""

from collections import deque
from collections.abc import Mapping

_COLLECTIONS = (dict, set, frozenset, list, tuple, deque)


def sizes(thing: object) -> dict[str, int]:
    """By the path to a collection, the things in it; of what is in one, all together. What is not Gapless's own is not
    looked into.
    """
    found: dict[str, int] = {}
    _add(thing, type(thing).__name__, found, set())
    return {path: count for path, count in found.items() if count}


def _add(thing: object, path: str, found: dict[str, int], seen: set[int]) -> None:
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, _COLLECTIONS):
        found[path] = found.get(path, 0) + len(thing)
        inside = thing.values() if isinstance(thing, Mapping) else thing
        for each in tuple(inside):
            _add(each, f"{path}[]", found, seen)
    elif type(thing).__module__.startswith("gapless."):
        for name in _attributes(thing):
            _add(getattr(thing, name, None), f"{path}.{name}", found, seen)


def _attributes(thing: object) -> list[str]:
    slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    return [*slots, *getattr(thing, "__dict__", {})]
