"""What a beat's news read like: in the log, and as figures for the controller."""

from gapless.core.edge.beatevents import (
    ArbitersBack,
    ArbitersLost,
    Fenced,
    HostSilent,
    LeaseHeld,
    Misheard,
    PanelStale,
    TakeoverTimes,
    TookOver,
)
from gapless.model import plan
from gapless.model.lease import LeaseTiming
from gapless.observe.words import counted
from gapless.wire.beat import Said

Spoken = LeaseHeld | Fenced | ArbitersLost | ArbitersBack | PanelStale | Misheard | HostSilent | TookOver


def line(news: Spoken) -> Said:
    """The line that an operator reads."""
    match news:
        case LeaseHeld():
            return _said("info", "this host holds its lease", tenure=news.tenure)
        case Fenced():
            return _said("warning", f"this host is fenced: {news.reason}; nothing forwards here", tenure=news.tenure)
        case ArbitersLost():
            return _said("warning", "arbiters do not grant this host's lease any more", arbiters=_list(news.arbiters))
        case ArbitersBack():
            return _said("info", "arbiters grant this host's lease", arbiters=_list(news.arbiters))
        case PanelStale():
            what = "this host does not know the present arbiters yet and waits for the controller to name them"
            return _said("warning", what, said_by=news.arbiter)
        case Misheard():
            what = (
                f"host {news.of}, which stands by for routers here, had no guard; what is open here is announced again"
            )
            return _said("warning", what)
        case HostSilent():
            what = f"host {news.tenure.host} is silent; this host claims its routers"
            return _said("warning", what, tenure=news.tenure, silent_for=f"{news.silent_for_s * 1000:.0f} ms")
        case TookOver():
            routers = counted(len(news.routers), "router")
            if news.is_released:
                after = f"{(news.times.opened - news.times.buried) * 1000:.1f} ms after it closed them"
                return _said("info", f"opened {routers} that {news.of.host} released", tenure=news.of, after=after)
            what = f"took over {routers} of {news.of.host}"
            return _said("warning", what, tenure=news.of, after=_after(news.times))


def uplinks(trouble: str) -> Said:
    """That an uplink was lost, or is back."""
    if trouble:
        return _said("warning", f"this host has lost its way out: {trouble}")
    return _said("info", "this host has its way out again")


def little_room(got: int, wanted: int) -> Said:
    """That the kernel keeps fewer datagrams than it was asked to."""
    what = "the kernel has little room for lease datagrams, and drops some when they come faster than they are read"
    return _said("warning", what, bytes=got, wanted=wanted, remedy=f"sysctl net.core.rmem_max={wanted}")


def _said(level: str, event: str, **details: object) -> Said:
    return Said(level=level, event=event, details={key: str(value) for key, value in details.items()})


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names)


def _after(times: TakeoverTimes) -> str:
    return f"{(times.opened - times.last_grant) * 1000:.1f} ms after its last grant ended"


def steps(takeover: TookOver, timing: LeaseTiming, *, announced: float | None, told: float) -> plan.TakeoverTimes:
    """The steps in milliseconds after the first beat that the arbiters missed; of a release, after what was closed."""
    if takeover.is_released:
        return _released(takeover.times, announced=announced, told=told)
    return since_missed(takeover.times, timing, announced=announced, told=told)


def _released(times: TakeoverTimes, *, announced: float | None, told: float) -> plan.TakeoverTimes:
    def ms(moment: float) -> float:
        return round((moment - times.buried) * 1000, 3)

    return plan.TakeoverTimes(
        buried_ms=0.0,
        opened_ms=ms(times.opened),
        told_ms=ms(told),
        announced_ms=None if announced is None else ms(announced),
    )


def since_missed(
    times: TakeoverTimes, timing: LeaseTiming, *, announced: float | None, told: float
) -> plan.TakeoverTimes:
    """The steps in milliseconds after the first beat that the arbiters missed.

    That beat was due one interval after the last renewal, whose grant an arbiter counts for `timing.arbiter_s`.
    """
    granted = times.last_grant - timing.arbiter_s
    missed = granted + timing.interval_s

    def ms(moment: float) -> float:
        return round((moment - missed) * 1000, 3)

    return plan.TakeoverTimes(
        granted_ms=ms(granted),
        silent_ms=ms(times.silent),
        claimed_ms=ms(times.claimed),
        buried_ms=ms(times.buried),
        opened_ms=ms(times.opened),
        told_ms=ms(told),
        announced_ms=None if announced is None else ms(announced),
    )
