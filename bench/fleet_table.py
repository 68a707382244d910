"""What was measured of fleets, in Markdown."""

import math
import platform
from collections.abc import Sequence

from fleet_server import cores
from fleet_trial import RECORDED_WITHIN_MS, Death, Run, Start
from measuring import commit


def table(runs: Sequence[Run], seconds: float) -> str:
    """In Markdown."""
    lines = [
        "# Fleet",
        "",
        "One controller (SQLite on the disk) and made-up hosts over the real control link, on one machine. Every "
        "router has a network, a gateway and a floating IP; in mode standby each has one standby, in another zone.",
        "",
        "## Start",
        "",
        "Seconds from the start of the process: it listens; the last host has its plan; everything is active and "
        "ready, by what the API says. `again`: the hosts have everything built and open.",
        "",
        "| hosts, routers | mode | | listens | plans | ready | processor, s | memory, MiB |",
        "|---|---|---|---|---|---|---|---|",
        *(_start_line(run, word, start) for run in runs for word, start in (("", run.start), ("again", run.restart))),
        "",
        f"## Rest, {seconds:g} s, and memory",
        "",
        "| hosts, routers | mode | processor, % of a core | a decision, mean ms | longest, at most ms | memory, MiB "
        "| most ever, MiB | database, MiB |",
        "|---|---|---|---|---|---|---|---|",
        *(_rest_line(run) for run in runs),
        "",
        "## Deaths",
        "",
        "Milliseconds, of the router that took longest. Mode reschedule: from the planner's decision; mode standby: "
        "from when the power went, at which made-up successors take over, without the 160 ms that this takes real "
        "ones. `told`: the last of them has written its report, which is the benchmark's own part of what follows; "
        "`stored`: the new binding is in the database; `planned`: the plan with it has left, or the one that says that "
        "the takeover was heard has arrived; `confirmed`: it was heard to be active; `protected`: every router that "
        "had lost its host or its standby has a standby again (nothing is built for 10 s after a takeover, by design). "
        "`longest decision`: a bound that all kept, from the receipt of the event. "
        f"Goal: the takeovers of one host's death `stored` within {RECORDED_WITHIN_MS:,g}; later is **bold**.",
        "",
        "`processor`: of the controller, until every record was whole (looked at after 2 s, and each 0.5 s), and until "
        "all were protected; less what rest costs in so long.",
        "",
        "| hosts, routers | mode | dead hosts | their routers | told | stored | planned | confirmed | protected "
        "| longest decision | processor, s: recorded | ... protected |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
        *(_death_line(run, death) for run in runs for death in (run.host, run.zone)),
        "",
        f"Load of the machine (1 min) before and after: {'; '.join(map(_loads, runs))}.",
        "",
        *(
            f"Not so: {run.hosts} hosts, {run.routers} routers, {run.mode}: {each}"
            for run in runs
            for each in run.problems
        ),
        "",
        f"Gapless at {commit()}, Python {platform.python_version()}, Linux {platform.release()}, {cores()} cores, "
        "which the made-up hosts share.",
        "",
    ]
    return "\n".join(lines)


def _loads(run: Run) -> str:
    return f"{_size(run)}, {run.mode}: {' and '.join(f'{each:.1f}' for each in run.loads)}"


def _size(run: Run) -> str:
    return f"{run.hosts}, {run.routers:,}"


def _start_line(run: Run, word: str, start: Start | None) -> str:
    if start is None:
        return f"| {_size(run)} | {run.mode} | {word} | – | – | – | – | – |"
    times = (start.listens_s, start.planned_s, start.ready_s, start.used_s)
    return _line(_size(run), run.mode, word, *(f"{each:.1f}" for each in times), f"{start.rss_mib:.0f}")


def _rest_line(run: Run) -> str:
    if (rest := run.rest) is None:
        return _line(_size(run), run.mode, *["–"] * 6)
    return _line(
        _size(run),
        run.mode,
        f"{rest.percent:.1f}",
        f"{rest.decide_mean_ms:.2f}",
        _ms(rest.decide_most_ms),
        f"{rest.rss_mib:.0f}",
        f"{run.rss_most_mib:.0f}",
        f"{run.database_mib:.0f}",
    )


def _death_line(run: Run, death: Death | None) -> str:
    if death is None:
        return _line(_size(run), run.mode, *["–"] * 10)
    stored = f"**{_ms(death.stored_ms)}**" if run.misses and death is run.host else _ms(death.stored_ms)
    later = (death.planned_ms, death.confirmed_ms, death.protected_ms, death.decide_most_ms)
    return _line(
        _size(run),
        run.mode,
        str(death.hosts),
        f"{death.routers:,}",
        _ms(death.told_ms),
        stored,
        *map(_ms, later),
        f"{death.recorded_s:.1f}",
        "–" if death.renewed_s is None else f"{death.renewed_s:.1f}",
    )


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _ms(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if math.isfinite(value) else "more"
