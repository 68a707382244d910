"""How tests run a verb in this process, and what they look at then."""

from collections.abc import Callable
from typing import NamedTuple


class Said(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


Run = Callable[..., Said]
