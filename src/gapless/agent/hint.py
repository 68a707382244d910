"""A hint that a router may have drifted: where to look sooner, and when that was heard.

The rule: a hint never says what is wrong. A look that began after the hint was heard has answered it, for what it tells
of had happened by then; so neither what a job does itself nor a storm of messages makes more looks than it must.
"""

from dataclasses import dataclass

from gapless.model.network import NetworkId
from gapless.model.router import RouterId


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """About a router, about all of a network's, or, with neither, about any: something was missed."""

    heard_at: float
    """Monotonic seconds."""
    router_id: RouterId | None = None
    network_id: NetworkId | None = None
