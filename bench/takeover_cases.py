"""What `takeover.py` measures, as data: each case is one lab, struck in rounds."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product

HOSTS = 3
"""Of most cases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One lab and what is done to it. Each fault strikes once a round.

    `interval_ms`: between probes; 0: as finely as that many allow. `most_ms`: how long the longest gap may be; None:
    that is not judged. `loses_none`: not one probe may be lost. `minutes`: when they are over, the lab is told to end,
    and what was found by then counts. `probed`: probes go through this many routers; 0: as many as usual. `one_way`:
    through each in one direction only, also where all are probed. `flows`: connections; `at_once`: routers that a drain
    has leave at a time, 0: as `gapless drain` does. `most_dark_ms`: where routers leave a host that closes them, how
    long one may be without traffic (`drain_table`).
    """

    faults: tuple[str, ...]
    routers: int
    minutes: float
    timing: str = "default"
    rounds: int = 10
    hold_s: float = 0.0
    packed: bool = False
    interval_ms: float = 0.0
    most_ms: float | None = None
    loses_none: bool = False
    hosts: int = HOSTS
    probed: int = 0
    one_way: bool = False
    flows: int = 0
    at_once: int = 0
    most_dark_ms: float | None = None

    @property
    def is_drain(self) -> bool:
        """Whether routers leave a host that is well enough to close them."""
        return self.most_dark_ms is not None

    @property
    def words(self) -> str:
        """For people."""
        size = "1 router" if self.routers == 1 else f"{self.routers:,} routers"
        flows = f", {self.flows:,} connections" if self.flows else ""
        pace = f", {self.at_once:,} at a time" if self.at_once else ""
        return f"{self.rounds} rounds of {', '.join(self.faults)}; {size}{flows}{pace}, timing {self.timing}"

    @property
    def argv(self) -> list[str]:
        """The words after `gapless`; the file for the result follows them."""
        words = ["lab", "run", "--hosts", str(self.hosts), "--routers", str(self.routers), "--timing", self.timing]
        words += ["--rounds", str(self.rounds), "--hold", f"{self.hold_s:g}", "--interval-ms", f"{self.interval_ms:g}"]
        words += ["--packed"] if self.packed else []
        words += ["--one-way"] if self.one_way else []
        numbers = {"--probed": self.probed, "--flows": self.flows, "--at-once": self.at_once}
        words += [word for option, number in numbers.items() if number for word in (option, str(number))]
        return [*words, *(word for fault in self.faults for word in ("--fault", fault)), "--json"]


SUFFIX = {"default": "", "fast": "-fast"}
POWER = "host-power"
MORE_POWER = ("controller-then-power", "busy-then-power")
LATE_ENOUGH_S = 2.0
"""For a fault that lasts: ten leases. Longer says nothing more of takeovers, and the rounds would take an hour."""


def _most_ms(timing: str, routers: int) -> float:
    if timing == "default":
        return 300.0
    return 70.0 if routers == 1 else 150.0


def _power() -> dict[str, Case]:
    """A host loses power: alone, with the controller killed first, and while hosts build and delete other routers.

    More than one are probed in one direction each, so 100 can be each 10 ms: both directions would be 20,000 probes a
    second, of which a machine with 2 cores that has other work skips half.
    """
    minutes = {1: 3.0, 100: 5.0, 1000: 15.0}
    found = {}
    for routers, (timing, suffix) in product(minutes, SUFFIX.items()):
        alone = Case(
            faults=(POWER,),
            routers=routers,
            timing=timing,
            minutes=minutes[routers],
            interval_ms=1.0 if routers == 1 else 10.0,
            one_way=routers > 1,
            most_ms=_most_ms(timing, routers),
        )
        found[f"power-{routers}{suffix}"] = alone
        more = replace(alone, faults=MORE_POWER, hold_s=LATE_ENOUGH_S, minutes=2 * minutes[routers] + 2)
        found[f"more-power-{routers}{suffix}"] = more
    return found


def _cut() -> dict[str, Case]:
    """A host that lives is cut off, and its successor must not meet it: 52 times in both timings together."""
    return {
        f"cut{suffix}": Case(
            faults=("sentinel-stop", "data-link"),
            routers=30,
            timing=timing,
            rounds=13,
            hold_s=LATE_ENOUGH_S,
            minutes=9,
            most_ms=_most_ms(timing, 30),
        )
        for timing, suffix in SUFFIX.items()
    }


def _harmless() -> dict[str, Case]:
    """What must cost nothing. All routers on one host: so the arbiter that is killed carries none."""
    faults = ("agent-kill", "controller-kill", "arbiter-kill", "mgmt-link")
    return {
        f"harmless{suffix}": Case(
            faults=faults, routers=100, timing=timing, rounds=3, packed=True, minutes=8, loses_none=True
        )
        for timing, suffix in SUFFIX.items()
    }


EVERY = (
    "data-link-out",
    "data-link-in",
    "partition",
    "uplink-lost",
    "uplinks-lost",
    "host-flap",
    "sentinel-kill",
    "agent-stop",
    "controller-stop",
    "database-gone",
    "database-then-power",
    "controller-then-power",
    "two-arbiters-kill",
    "restart-all",
    "successor-dies",
)


def _every() -> dict[str, Case]:
    """Many other faults, each for as long as it needs: was a frame ever double active? How long a gap was is not judged
    here, as some of them stop all hosts, and others only the controller.
    """
    return {"every": Case(faults=EVERY, routers=12, rounds=2, minutes=20)}


def _hogs() -> dict[str, Case]:
    """Ten minutes in which every core is busy with something else, and nobody may be taken for dead."""
    return {
        f"hogs{suffix}": Case(
            faults=("cpu-hogs",), routers=30, timing=timing, rounds=1, hold_s=600.0, minutes=13, interval_ms=20.0
        )
        for timing, suffix in SUFFIX.items()
    }


def _unrepairable() -> dict[str, Case]:
    """One of many routers on a host is broken for good, and goes to its standby; its neighbours notice nothing. Its gap
    includes that the agent stands still while it is broken.
    """
    fault = "namespace-unrepairable-one"
    return {
        f"unrepairable{suffix}": Case(
            faults=(fault,), routers=30, timing=timing, rounds=5, packed=True, minutes=6, most_ms=1000.0
        )
        for timing, suffix in SUFFIX.items()
    }


def _drains() -> dict[str, Case]:
    """A host that has all routers is drained while connections go through each: two hosts, so the other one has all in
    the next round. A few routers are probed finely, since the probes' distance is the floor of what they show.
    """
    sizes = ((100, 800, 5, 10.0), (1000, 2000, 2, 40.0))
    return {
        f"drain-{routers}": Case(
            faults=("drain",),
            hosts=2,
            packed=True,
            routers=routers,
            flows=flows,
            rounds=rounds,
            minutes=minutes,
            interval_ms=2.0,
            probed=10,
            most_dark_ms=5.0,
        )
        for routers, flows, rounds, minutes in sizes
    }


def _stopped() -> dict[str, Case]:
    """`systemctl stop` of the host that has all routers, which leave first, and its start."""
    drained = _drains()["drain-100"]
    return {"stop-100": replace(drained, faults=("host-stop",), minutes=8.0)}


def _uplink() -> dict[str, Case]:
    """A host alone loses its way out, and resigns. Nobody there can forward anything meanwhile."""
    return {
        f"uplink{suffix}": Case(
            faults=("uplink-lost",),
            routers=100,
            timing=timing,
            rounds=5,
            minutes=6,
            interval_ms=10.0,
            one_way=True,
            hold_s=LATE_ENOUGH_S,
            most_ms=_most_ms(timing, 100),
        )
        for timing, suffix in SUFFIX.items()
    }


def _agentless() -> dict[str, Case]:
    """No agent works any more on the host that has all routers: they forward on, and leave when patience is over."""
    return {
        "agent-unable": Case(
            faults=("agent-unable",),
            hosts=2,
            packed=True,
            routers=30,
            flows=240,
            rounds=3,
            minutes=10.0,
            interval_ms=2.0,
            probed=10,
            most_dark_ms=5.0,
        )
    }


CASES: Mapping[str, Case] = {
    **_power(),
    **_cut(),
    **_harmless(),
    **_every(),
    **_hogs(),
    **_unrepairable(),
    **_drains(),
    **_stopped(),
    **_uplink(),
    **_agentless(),
}
USUAL = ("power-1", "power-1-fast", "power-100", "power-100-fast")
"""What `make bench` measures."""
