"""Which hosts are arbiters, and how one of them is replaced without two quorums that know nothing of each other.

The rule: three arbiters, five from nine hosts on, one while there are fewer than three hosts; spread over zones. Where
routers have several standbys, as many hosts may die at once and their successors still find a quorum: for two there
are five arbiters from five hosts on, for three seven from seven on. They stay as they are: an arbiter is replaced when
it is dead or leaseless (`planner.leaseless`) and another host is there to be one, or when there are hosts enough for
more arbiters. An even number is never better than the odd one below it.

Replacing takes three levels, each stored, then published, then followed (`model.lease.Panel`):

    v, floor f: {old}  ─1─►  v+1, floor v: {old},{new}  ─2─►  v+1, floor v+1: the same  ─3─►  v+2, floor v+1: {new}

    1. when a change is due, and every host has followed v for `quiet_s`: a host that has just begun is a silent arbiter
       for so long, and two of them would be a majority that grants nobody anything. A quorum is a majority of both sets
       from now on.
    2. when every host follows v+1, save those whose tenure the arbiters have buried.
    3. when majorities of both sets have confirmed the floor, and every grant given before that is over (`quiet_s`).

The invariant: no two quorums that are relied on at one time lack a common arbiter. A host that follows v holds no lease
when v+2 is published: arbiters that have confirmed the floor v+1 do not serve it, and they are a majority of {old}.

The one exception is a panel that is lost: without arbiters that an operator confirmed to be off there is no quorum of
it any more, so nobody holds a lease by it, nobody can be buried by it, and there is nothing to be joined with. Then it
begins anew, in one level, out of the hosts that are heard:

    v, floor f: {old}  ─►  v+2, floor v+2: {new}

when `quiet_s` has passed since the operator's word (what the lost ones granted is over then), and while no host says
that it holds its lease: one that does has a quorum, so somebody is on who was said to be off. What keeps the invariant,
should lost arbiters come back with the old panel on their disks and grant leases by it: a host that is told of v+2
while it holds a lease by v is fenced (`edge.beat`), and from the operator's word on nothing is planned for a tenure
before its host's guard works from v+2 (`LeaseRecord.must_follow`). So no tenure that gets a lease by v is ever active.

After Raft's joint consensus (Ongaro and Ousterhout 2014), with a floor in place of the log.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from gapless.model.host import HostName
from gapless.model.lease import DEFAULT, LeaseTiming, Panel, PanelVersion

FIVE_FROM = 9
"""Hosts from which on there are five arbiters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A host that takes part in leases, as the panel sees it."""

    name: HostName
    zone: str
    is_heard: bool
    """It is alive, and connected."""
    is_dead: bool
    is_over: bool
    """The arbiters have buried its tenure: it holds no lease, whatever it follows."""
    follows: bool
    """Its guard works from the panel as it was published last."""
    is_leaseless: bool = False
    """It held no lease for long, and others did: its datagrams reach nobody."""
    is_held: bool = False
    """It is heard, and says that it holds its lease now."""

    @property
    def is_able(self) -> bool:
        """It could be an arbiter."""
        return self.is_heard and not self.is_leaseless


@dataclass(frozen=True, slots=True, kw_only=True)
class NextLevel:
    """The panel to be stored and published next, and why."""

    panel: Panel
    reason: str
    begins_anew: bool = False
    """It shares no quorum with the level before."""


class Arbiters:
    """Leads from level to level. `panel` is the one that is stored, None before there was any host."""

    def __init__(self, panel: Panel | None, lease: LeaseTiming = DEFAULT, deaths: int = 1) -> None:
        """`deaths`: how many hosts may die at once, where there are hosts enough, and a quorum is left."""
        self.panel = panel
        self._deaths = deaths
        self._quiet_s = lease.quiet_s
        self._confirmed_at: float | None = None
        self._due: tuple[frozenset[HostName], float] | None = None
        """The arbiters that there should be, and since when every host follows so that there could."""
        self._lost: tuple[frozenset[HostName], float] | None = None
        """The arbiters without which there is no quorum, and since when they are known to be off."""

    def stored(self, panel: Panel) -> None:
        """This level is in the store, and to be published."""
        self.panel = panel
        self._confirmed_at = self._due = self._lost = None

    def judge(self, members: Sequence[Member], now: float, off: Collection[HostName] = frozenset()) -> NextLevel | None:
        """The next level, if it is time for one. `off`: hosts that an operator confirmed to be off."""
        panel = self.panel
        if panel is None:
            return self._first(members)
        if is_lost(panel, off):
            return self._begin_anew(panel, members, frozenset(off), now)
        self._lost = None
        if len(panel.sets) == 1:
            return self._replace(panel, members, now)
        if panel.floor < panel.version:
            return self._raise_floor(panel, members)
        return self._conclude(panel, members, now)

    def awaited(self, members: Sequence[Member]) -> list[HostName]:
        """Dead and leaseless hosts that the next level waits for: whether their tenures are over is worth asking."""
        panel = self.panel
        if panel is None:
            return []
        is_due = len(panel.sets) == 2 or self._chosen(panel.sets[0], members) != panel.sets[0]
        absent = [each for each in members if each.is_dead or each.is_leaseless]
        return [each.name for each in absent if is_due and not each.follows and not each.is_over]

    def _begin_anew(
        self, panel: Panel, members: Sequence[Member], off: frozenset[HostName], now: float
    ) -> NextLevel | None:
        lost = off.intersection(panel.arbiters)
        if self._lost is None or self._lost[0] != lost:
            self._lost = lost, now
        # By a panel that is lost nobody can hold a lease: to have held none before says nothing any more.
        chosen = self._chosen(frozenset(), [replace(each, is_leaseless=False) for each in members])
        if not chosen or any(each.is_held for each in members) or now - self._lost[1] < self._quiet_s:
            return None
        version = PanelVersion(panel.version + 2)
        said = "are" if len(lost) > 1 else "is"
        return NextLevel(
            panel=Panel(version=version, floor=version, sets=(chosen,)),
            reason=(
                f"an operator confirmed that {_names(lost)} {said} off, and without them there is no majority of the "
                f"arbiters of before; arbiters are {_names(chosen)} from now on"
            ),
            begins_anew=True,
        )

    def _first(self, members: Sequence[Member]) -> NextLevel | None:
        chosen = self._chosen(frozenset(), members)
        if not chosen:
            return None
        panel = Panel(version=PanelVersion(1), floor=PanelVersion(1), sets=(chosen,))
        return NextLevel(panel=panel, reason=f"the first arbiters are {_names(chosen)}")

    def _chosen(self, current: frozenset[HostName], members: Sequence[Member]) -> frozenset[HostName]:
        """The arbiters that there should be; `current` if nothing better is possible."""
        zones = {each.name: each.zone for each in members}
        kept = {each.name for each in members if each.name in current and not (each.is_dead or each.is_leaseless)}
        able = {each.name for each in members if each.is_able} - current
        for size in sorted({_size(len(kept | able), self._deaths), len(current)}, reverse=True):
            if len(current) <= size <= len(kept | able) and (size != len(current) or kept != set(current)):
                return _filled(kept, able, size, zones)
        return current

    def _replace(self, panel: Panel, members: Sequence[Member], now: float) -> NextLevel | None:
        (old,) = panel.sets
        new = self._chosen(old, members)
        if new == old or _laggards(members):
            self._due = None
            return None
        if self._due is None or self._due[0] != new:
            self._due = new, now
        if now - self._due[1] < self._quiet_s:
            return None
        joint = Panel(version=PanelVersion(panel.version + 1), floor=panel.version, sets=(old, new))
        return NextLevel(
            panel=joint,
            reason=f"arbiters are to be {_names(new)} instead of {_names(old)}{_why_not(old - new, members)}",
        )

    def _raise_floor(self, panel: Panel, members: Sequence[Member]) -> NextLevel | None:
        if _laggards(members):
            return None
        raised = Panel(version=panel.version, floor=panel.version, sets=panel.sets)
        return NextLevel(panel=raised, reason="every host asks the old arbiters and the new ones")

    def _conclude(self, panel: Panel, members: Sequence[Member], now: float) -> NextLevel | None:
        if not panel.is_quorum([each.name for each in members if each.follows]):
            self._confirmed_at = None
            return None
        if self._confirmed_at is None:
            self._confirmed_at = now
        if now - self._confirmed_at < self._quiet_s:
            return None
        single = Panel(version=PanelVersion(panel.version + 1), floor=panel.version, sets=panel.sets[1:])
        return NextLevel(panel=single, reason=f"arbiters are {_names(panel.sets[1])} from now on")


def is_lost(panel: Panel, off: Collection[HostName]) -> bool:
    """Whether there can be no quorum any more without one of those that are off."""
    return not panel.is_quorum([each for each in panel.arbiters if each not in off])


class Shortage:
    """Whether arbiters are too few for takeovers, told when that has lasted for `patience_s` and when it is over.

    With two hosts there is one arbiter (two would be worse: either one's death would end every lease). It can bury the
    other host, and nobody can bury it.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._since: float | None = None
        self._is_told = False

    def judge(self, panel: Panel | None, members: Sequence[Member], now: float) -> str | None:
        """What there is to tell now: the shortage, "" for its end, None for nothing new."""
        said = _shortage(panel, members)
        self._since = (now if self._since is None else self._since) if said else None
        if said and self._since is not None and now - self._since < self._patience_s:
            return None
        if bool(said) is self._is_told:
            return None
        self._is_told = bool(said)
        return said


def _shortage(panel: Panel | None, members: Sequence[Member]) -> str:
    if panel is None or len(members) < 2 or len(panel.arbiters) >= 3:
        return ""
    (only,) = panel.arbiters[:1]
    others = ", ".join(sorted(each.name for each in members if each.name != only))
    return (
        f"{len(members)} hosts are too few for takeovers: {only} is the only arbiter, and should it die, nobody takes "
        f"over from it, and {others} forwards nothing for guarded routers until it is back; for a third arbiter run "
        "`gapless host --capacity 0` on the controller's machine"
    )


def _filled(kept: set[HostName], able: set[HostName], size: int, zones: dict[HostName, str]) -> frozenset[HostName]:
    """`size` arbiters: those kept, and of those able ever another in the zone that has the fewest."""
    chosen, left = set(kept), set(able)
    while len(chosen) < size:
        used = Counter(zones[name] for name in chosen)
        best = min(left, key=lambda name: (used[zones[name]], name))
        chosen.add(best)
        left.discard(best)
    return frozenset(chosen)


def _size(hosts: int, deaths: int) -> int:
    for survived in range(deaths, 1, -1):
        if hosts >= 2 * survived + 1:
            return 2 * survived + 1
    if hosts >= FIVE_FROM:
        return 5
    return 3 if hosts >= 3 else min(hosts, 1)


def _why_not(gone: frozenset[HostName], members: Sequence[Member]) -> str:
    mute = frozenset(each.name for each in members if each.name in gone and each.is_leaseless)
    return f": {_names(mute)} is heard, but holds no lease" if mute else ""


def _laggards(members: Sequence[Member]) -> list[HostName]:
    """Hosts that may hold a lease by an older level."""
    return [each.name for each in members if not each.follows and not each.is_over]


def _names(hosts: frozenset[HostName]) -> str:
    return ", ".join(sorted(hosts))
