"""What a lab is made with. Plain values, so that they travel as JSON into the namespaces."""

from collections.abc import Mapping
from math import inf

import msgspec

from gapless.config import MOST_STANDBYS, Liveness
from gapless.errors import InvalidRequest
from gapless.lab.machines import layout
from gapless.lab.measuring.connections import MIX, Kinds
from gapless.model.router import DEFAULT_FAILOVER_MODE, FailoverMode

QUICK = Liveness(report_interval_s=0.5, agent_down_time_s=2.0, agent_patience_s=20.0)
"""The lab's own: silence of 4 s means death. Neutron's are 30 s and 75 s, so 150 s (`--classic`)."""
CLASSIC = Liveness()
MOST_ROUTERS = 1000
MOST_FLOWS = 5000
MOST_PROBED = 100
"""Routers that probes go through, unless told otherwise."""
MOST_LEAVING = 1000
"""A drain has no more routers leave at a time."""
WITH_STANDBYS = frozenset({"standby"})
"""Failover modes in which a router is built on more hosts than the one that it is active on."""
TIMINGS: Mapping[str, tuple[str, ...]] = {"default": (), "fast": ("--timing", "fast")}
"""Timing -> what it adds to the command line of `gapless server`, which tells the hosts."""


def mode_of(name: str) -> FailoverMode:
    """A failover mode by name. Raises InvalidRequest that names those there are."""
    try:
        return FailoverMode(name)
    except ValueError:
        raise InvalidRequest(f"there is no failover mode '{name}': {', '.join(FailoverMode)}") from None


class LabSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How many of what, and how patient. `interval_ms` 0: the finest that this many probes allow. `packed`: all routers
    on the first host; the others join when those run, as standbys. `at_once`: routers that a drain has leave at a time;
    0: as many as the controller takes by itself.
    """

    hosts: int = 3
    routers: int = 3
    mode: FailoverMode = DEFAULT_FAILOVER_MODE
    report_interval_s: float = QUICK.report_interval_s
    agent_down_time_s: float = QUICK.agent_down_time_s
    brake_share: float = QUICK.brake_share
    agent_patience_s: float = QUICK.agent_patience_s
    interval_ms: float = 0.0
    timing: str = "default"
    standbys: int = 1
    packed: bool = False
    flows: int = 0
    """Connections through the routers,"""
    kinds: Kinds = MIX
    """of these kinds, by turns."""
    flow_sync: bool = True
    """Whether hosts copy connections to their successors."""
    probed: int = MOST_PROBED
    """Routers that probes go through at most."""
    one_way: bool = False
    """Whether each is probed in one direction only, also where all are probed."""
    at_once: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.hosts <= layout.MOST_HOSTS:
            raise InvalidRequest(f"a lab has 1 to {layout.MOST_HOSTS} hosts, not {self.hosts}")
        if not 0 <= self.routers <= MOST_ROUTERS:
            raise InvalidRequest(f"a lab has 0 to {MOST_ROUTERS} routers, not {self.routers}")
        if not (self.interval_ms == 0 or 1 <= self.interval_ms < inf):
            raise InvalidRequest(f"probes can be sent each 1 ms or slower, not each {self.interval_ms:g} ms")
        if not 0 <= self.flows <= MOST_FLOWS:
            raise InvalidRequest(f"a lab has 0 to {MOST_FLOWS} connections, not {self.flows}")
        if not self.kinds:
            raise InvalidRequest("connections are of one kind at least")
        if not 1 <= self.probed <= MOST_ROUTERS:
            raise InvalidRequest(f"probes go through 1 to {MOST_ROUTERS} routers, not {self.probed}")
        if not 0 <= self.at_once <= MOST_LEAVING:
            raise InvalidRequest(f"a drain has 1 to {MOST_LEAVING} routers leave at a time, not {self.at_once}")
        if not 1 <= self.standbys <= MOST_STANDBYS:
            raise InvalidRequest(f"a router has 1 to {MOST_STANDBYS} standbys, not {self.standbys}")
        if self.timing not in TIMINGS:
            raise InvalidRequest(f"there is no timing '{self.timing}': {', '.join(TIMINGS)}")
        _ = self.liveness  # raises for numbers that do not fit each other

    @property
    def has_standbys(self) -> bool:
        """Whether routers are built on more hosts than the one that they are active on."""
        return self.mode in WITH_STANDBYS

    @property
    def has_arbiter(self) -> bool:
        """Whether the controller's machine is a third arbiter: two hosts alone cannot take over from each other."""
        return self.has_standbys and self.hosts == 2

    @property
    def server_options(self) -> tuple[str, ...]:
        """What the settings add to the command line of `gapless server`."""
        return (*TIMINGS[self.timing], *(("--standbys", str(self.standbys)) if self.standbys > 1 else ()))

    @property
    def liveness(self) -> Liveness:
        """The controller's."""
        return Liveness(
            report_interval_s=self.report_interval_s,
            agent_down_time_s=self.agent_down_time_s,
            brake_share=self.brake_share,
            agent_patience_s=self.agent_patience_s,
        )
