"""Messages between a sentinel and its flows process, over a local link (`wire.local`).

-> FlowsBegin       who this host is, the cluster's key, where to listen
-> FlowsDuties      what to tell, what to follow, and what to flush: a level, as it changes
<- FlowsFlushed     what is flushed of that
<- FlowsAlive       once a second: its loop turns, and what it has done
<- FlowsUnable      its last word: it cannot do its work on this host, and why
"""

import msgspec

from gapless.model.flow import FlowPolicy
from gapless.model.host import HostName
from gapless.model.router import RouterId
from gapless.wire.messages import Decoder


class FlowsBegin(msgspec.Struct, frozen=True, kw_only=True, tag="flows-begin"):
    """The first message. `key`: the cluster's, in hex."""

    key: str
    cluster: str
    name: HostName
    address: str
    port: int
    most: int
    """Flows of one router that are copied."""
    policy: FlowPolicy = FlowPolicy()
    """Which of them."""
    raises_most: bool = False
    """Whether this kernel is to track as many connections as those of the hosts that are followed."""


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """Which host is to have a router's flows, asked under a number that no other asking of that sentinel's has."""

    to: HostName
    number: int = 0


class FlowsDuties(msgspec.Struct, frozen=True, kw_only=True, tag="flows-duties"):
    """All that there is to do. `told`: routers that are active here; `opening`: those that are about to be; `followed`:
    where others may be active that this host may succeed; `addresses`: where those hosts are. `flush`: routers that are
    about to move from here, to which host: their copies come first, and it is said when that host has all of them.
    `numbers`: of these askings.
    """

    told: tuple[RouterId, ...] = ()
    opening: tuple[RouterId, ...] = ()
    followed: dict[RouterId, tuple[HostName, ...]] = {}
    addresses: dict[HostName, str] = {}
    flush: dict[RouterId, HostName] = {}
    numbers: dict[RouterId, int] = {}

    @property
    def askings(self) -> dict[RouterId, Asking]:
        """What is to be flushed; a sentinel of an older release has no numbers."""
        return {each: Asking(to=to, number=self.numbers.get(each, 0)) for each, to in self.flush.items()}


class FlowsFlushed(msgspec.Struct, frozen=True, kw_only=True, tag="flows-flushed"):
    """Of the routers that are to be flushed: the host that gets them has all that the kernel said of their flows.
    `answers`: with which host that is, to which asking. An older flows process does not say that, and then it is the
    answer to none: a router may be about to move to another host by now.
    """

    routers: tuple[RouterId, ...]
    answers: dict[RouterId, Asking] = {}


class FlowFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What a flows process has done since its start, and how it stands."""

    heard: int = 0
    """Events of the kernel that were taken in."""
    told: int = 0
    """Parts that were sent to followers."""
    applied: int = 0
    """Entries that were made, renewed or removed here."""
    refused: int = 0
    """Entries that this kernel did not take."""
    unread: int = 0
    """What was told of flows in a way that this host does not know, or not whole: nothing was made of it."""
    left_out: int = 0
    """How often a flow was not told because its router has the most that are copied."""
    overruns: int = 0
    """How often a router's flows had to be copied anew because too much had happened."""
    copies: int = 0
    """Whole copies that were told."""
    turned_away: int = 0
    """Connections that proved nothing, or were too many."""
    streams: int = 0
    """To and from other hosts, now."""
    lag_ms: float = 0.0
    """The most that a follower was behind, since the last of these."""


class FlowsAlive(msgspec.Struct, frozen=True, kw_only=True, tag="flows-alive"):
    """Its loop turns. `copied`: of routers that are followed, those of which it is news whether all their flows are
    here; None: not known, or not followed any more.
    """

    figures: FlowFigures
    copied: dict[RouterId, bool | None] = {}


class FlowsUnable(msgspec.Struct, frozen=True, kw_only=True, tag="flows-unable"):
    """Its last word: it cannot do its work on this host, and why."""

    reason: str


ToFlows = FlowsBegin | FlowsDuties
FromFlows = FlowsAlive | FlowsFlushed | FlowsUnable

to_flows: Decoder[ToFlows] = Decoder(ToFlows)
from_flows: Decoder[FromFlows] = Decoder(FromFlows)
