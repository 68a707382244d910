"""What a fault is: something that strikes and, where that makes sense, heals."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from enum import Enum, auto
from typing import ClassVar

from gapless.config import Liveness
from gapless.lab.findings.expect import Expected, Gap, Moves
from gapless.lab.lab import ASK_A_ROUTER_S, Lab
from gapless.lab.machines.nodes import Host
from gapless.lab.waiting import until
from gapless.model.router import FailoverMode

MARGIN_S = 2.0
"""How much longer than the silence after which routers move a lasting fault lasts."""
LEFT_WITHIN_S = 60.0
"""Patience for routers to leave, beyond that with agents, plus a second a router."""


def in_mode(*, reschedule: Expected, standby: Expected) -> Mapping[str, Expected]:
    """What a fault may cost, by the names of the failover modes."""
    return {"reschedule": reschedule, "standby": standby}


NOTHING = Expected(gap=Gap.NONE, moves=Moves.NONE)
HARMLESS = in_mode(reschedule=NOTHING, standby=NOTHING)
"""Traffic must not notice, and nothing may move."""
TAKEN_OVER = Expected(gap=Gap.TAKEOVER, moves=Moves.STRUCK)
RESCHEDULED = Expected(gap=Gap.RESCHEDULE, moves=Moves.STRUCK)
STAYS = Expected(gap=Gap.LASTS, moves=Moves.NONE)
"""Nobody sees a reason to move anything."""
LEAVES_LATER = Expected(gap=Gap.LASTS)
"""What lasts for more than some seconds may be left by routers that others can have."""


class Reach(Enum):
    """What a fault strikes when nobody names a host."""

    HOST = auto()
    """The host with the most routers."""
    ANOTHER = auto()
    """One that is not the host with the most routers."""
    FATAL_PAIR = auto()
    """The host with the most routers, and the one that would succeed it with the most of them."""
    TWO_OTHERS = auto()
    """Two that are not."""
    FEWER_HOSTS = auto()
    """Half of the hosts, rounded down; the last ones."""
    MOST_HOSTS = auto()
    """More than half of the hosts."""
    ALL_HOSTS = auto()
    CONTROLLER = auto()


class Fault(ABC):
    """One thing to break. An experiment prepares, strikes, holds, heals, lets go, and judges by what it promises."""

    name: ClassVar[str]
    summary: ClassVar[str]
    """What is broken, for people."""
    reach: ClassVar[Reach] = Reach.HOST
    expected: ClassVar[Mapping[str, Expected]]
    """Failover mode -> what must hold when it is over."""
    heals: ClassVar[bool] = False
    """Whether it ends by itself, after `hold_s`. What does not heal stays broken."""

    def __init__(self, hosts: Iterable[Host] = ()) -> None:
        self.hosts = tuple(hosts)
        self.routers: frozenset[str] | None = None
        """The routers that it strikes, known when it is prepared; None: all that are active on its hosts."""
        self.is_aimed = False
        """Whether its hosts were taken because of the routers on them, and not because somebody named them."""
        self.is_on = False
        """Whether it has struck, perhaps not all of it, and is not healed yet. The experiment says so."""

    def hurts(self, router_id: str, active_on: Iterable[str]) -> bool:
        """Whether it is to hurt a router that was active on these hosts; a fault without hosts is to hurt all."""
        if self.routers is not None:
            return router_id in self.routers
        return not self.hosts or not frozenset(self.names).isdisjoint(active_on)

    @property
    def names(self) -> tuple[str, ...]:
        """The hosts that it strikes."""
        return tuple(host.name for host in self.hosts)

    def describe(self) -> str:
        """What is broken, and where."""
        return f"{self.summary} ({', '.join(self.names)})" if self.hosts else self.summary

    def hold_s(self, liveness: Liveness) -> float:
        """Seconds from strike to heal; for what does not heal, the least time that traffic is looked at."""
        del liveness
        return 1.0

    @classmethod
    def expects(cls, mode: FailoverMode) -> Expected:
        """What must hold in that mode. Without failover nothing moves, and what is broken stays broken until healed."""
        if mode is FailoverMode.OFF:
            rescheduled = cls.expected[FailoverMode.RESCHEDULE]
            stays = rescheduled.gap in (Gap.NONE, Gap.REPAIR)
            return Expected(gap=rescheduled.gap if stays else Gap.LASTS, moves=Moves.NONE)
        return cls.expected[mode]

    async def prepare(self, lab: Lab) -> None:  # noqa: B027 -- most faults need nothing
        """What has to be so before the measurement begins."""

    async def let_go(self, lab: Lab) -> None:  # noqa: B027 -- most faults have begun nothing
        """End what `prepare` began: when traffic is back, or the experiment has failed. It may be called twice."""

    async def clear(self, lab: Lab) -> None:  # noqa: B027 -- most faults leave nothing
        """Take away what it made, before the next one strikes. Raises GaplessError."""

    @abstractmethod
    async def strike(self, lab: Lab) -> None:
        """Break it, as fast as it can be."""

    async def routers_left(self, lab: Lab) -> None:
        """Where what it strikes is to move: wait until the controller has bound all of that to other hosts, which a
        fault that is healed before would keep it from. Raises Unavailable.
        """
        if self.expects(lab.settings.mode).moves is not Moves.STRUCK:
            return
        here: list[str] = []

        async def have_left() -> bool:
            routers = [(str(each["router_id"]), str(each["host"])) for each in await lab.api.routers()]
            here[:] = [name for name, host in routers if host in self.names and self.hurts(name, [host])]
            return not here

        total = len(lab.tenants)
        what, each_s = f"routers have left {', '.join(self.names)}", total * ASK_A_ROUTER_S
        patience_s = lab.settings.agent_patience_s + LEFT_WITHIN_S + total
        await until(have_left, what, patience_s, lambda: ", ".join(here[:5]), each_s=each_s)

    async def heal(self, lab: Lab) -> None:  # noqa: B027 -- what does not heal has nothing to do
        """Make it whole again; nothing for what does not heal. It may have struck half-way only."""


class Lasting(Fault):
    """A fault that lasts a little longer than the silence after which routers move."""

    heals = True

    def hold_s(self, liveness: Liveness) -> float:
        """Long enough to show what moves and what does not."""
        return liveness.dead_after_s + MARGIN_S
