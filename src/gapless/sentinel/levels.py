"""What a beat said last: levels, kept by the sentinel for its reports. They end with the beat's successor."""

from dataclasses import dataclass, field, replace

from gapless.model.host import Incarnation
from gapless.model.lease import NOBODY, Tenure
from gapless.model.plan import Epoch, Takeover
from gapless.model.router import RouterId
from gapless.model.way import WaysSaid


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A takeover, and when (monotonic seconds) the beat told of it: `times.told_ms` is of that moment."""

    number: int
    takeover: Takeover
    told_at: float

    def as_of(self, now: float) -> Takeover:
        """The same, told now."""
        return replace(self.takeover, times=replace(self.takeover.times, told_ms=self.ms(now)))

    def ms(self, moment: float) -> float:
        """A moment (monotonic seconds) as the times of the takeover are."""
        return self.takeover.times.told_ms + (moment - self.told_at) * 1000

    def forwarded(self, forwarded_ms: float | None) -> "Done":
        """The same, with the time at which a packet was seen to have been forwarded."""
        times = replace(self.takeover.times, forwarded_ms=forwarded_ms)
        return replace(self, takeover=replace(self.takeover, times=times))


@dataclass(slots=True, kw_only=True)
class Levels:
    """What the beat said last."""

    tenure: Incarnation = NOBODY
    """At which this host holds its lease; 0: at none."""
    leased: Incarnation = NOBODY
    """The newest at which it held one."""
    reborn: Incarnation = NOBODY
    """Every lower one is over, and nothing of it is open; 0: no beat has said so yet."""
    trouble: str = ""
    """What of this host's uplinks is lost."""
    ways: WaysSaid | None = None
    """The same, for the controller's planner; None: no beat has said so yet."""
    expired: tuple[Tenure, ...] = ()
    """What this host, as an arbiter, granted last to hosts that were granted nothing since."""
    is_taking_over: bool = False
    """From a claim until what was taken over by it is announced."""
    is_unguarded: bool = False
    """The guard is away, and cannot be put back. A beat that ends leaves it so, until the next one is ready."""
    settled: int = 0
    """`Wanted.version` of the last plan of which all that it takes away is closed."""
    open: dict[RouterId, Epoch] = field(default_factory=dict)
    released: set[RouterId] = field(default_factory=set)
    """Of those that are open: what the host before released."""
    passing: set[RouterId] = field(default_factory=set)
    """Of those that are open by a plan, and were not taken over: the kernel has them in its active set for certain."""
    takeovers: dict[RouterId, Done] = field(default_factory=dict)
    """Of the present tenure: the last one of each router that is open, as last told."""
    told_whole: int = 0
    """Takeovers up to this number were told whole."""
