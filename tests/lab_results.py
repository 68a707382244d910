"""Results of experiments that nobody carried out, for whatever shows results or sums them up."""

from gapless.lab.findings.result import (
    Gaps,
    Patience,
    Probes,
    Result,
    Spread,
    Timeline,
    Versions,
    Wire,
)


def spread(ms: float) -> Spread:
    return Spread(median=ms, p99=ms, max=ms)


def result(timeline: Timeline, moved: int = 2, taken_over_before: int = 0, affected: int = 2) -> Result:
    return Result(
        ok=True,
        problems=[],
        at="2026-01-31T12:00:00+00:00",
        fault="host dies",
        description="a host dies",
        mode="standby",
        timing="default",
        hosts=3,
        routers=6,
        affected=affected,
        moved=moved,
        taken_over_before=taken_over_before,
        gap_ms=Gaps(median=260, p99=270, max=270, per_router={}, directions={}, bystanders=Spread()),
        double_active_frames=0,
        wire=Wire(frames=100, missed=0),
        probes=Probes(routers=2, flows=4, sent=1000, lost=30, skipped=0, interval_ms=10, lateness_ms_max=1),
        liveness=Patience(report_interval_s=1, agent_down_time_s=2, dead_after_s=4),
        timeline=timeline,
        versions=Versions(gapless="", python="", kernel="", nft="", iproute2="", cores=2, processor=""),
    )


def measured(median: float, most: float, *, ok: bool = True, frames: int | None = 0) -> Result:
    found = result(Timeline())
    gaps = Gaps(median=median, p99=most, max=most, per_router={}, directions={}, bystanders=Spread())
    problems = [] if ok else ["it took too long"]
    return Result(
        **{name: getattr(found, name) for name in found.__struct_fields__}
        | {
            "gap_ms": gaps,
            "ok": ok,
            "problems": problems,
            "double_active_frames": "unknown" if frames is None else frames,
        }
    )
