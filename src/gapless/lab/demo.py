"""`gapless demo`, inside: build a lab, let the story happen before your eyes, tell it again with exact times."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gapless.errors import GaplessError
from gapless.lab import faults
from gapless.lab.experiment import Outcome, experiment
from gapless.lab.findings import report, story, table
from gapless.lab.findings.output import Output
from gapless.lab.findings.result import Result, Timeline
from gapless.lab.findings.view import View
from gapless.lab.groups import first_of
from gapless.lab.lab import Lab
from gapless.lab.machines import shell
from gapless.lab.runner import INTERRUPTED, run_until_signalled
from gapless.lab.settings import CLASSIC, LabSettings
from gapless.model import lease
from gapless.model.router import FailoverMode
from gapless.observe.console import console
from gapless.observe.words import counted, figure

VICTIM = "host-2"
FAULT = "agent-then-power"

_HEADLINE = "A host dies, others take its routers over, the VMs talk on."
_INTRODUCTION = """\
{hosts} hosts carry {routers}: real namespaces, real nftables, the real `gapless server` and `gapless host`, \
all on this machine, without root. A VM behind each router talks to the outside (SNAT), and the outside to it \
(floating IP). Then {victim}'s agent is killed with -9, and its machine loses power.

{patience}
"""
_STANDBY = (
    "Each router is active on one host and built on another, which stands by for it. Each host holds a lease that the "
    "arbiters, {arbiters}, grant it each {interval_ms:g} ms for {lease_ms:g} ms. When it is over, and most of them "
    "have buried the host, the standbys open the routers by themselves: nobody asks the controller."
)
_RESCHEDULE = (
    "This is the classic way: hosts report each {report_s:g} s; after {dead_s:g} s of silence the controller calls a "
    "host dead and gives its routers to other hosts, which build them."
)
_SHORT = " That is set short so that you need not wait: Neutron's own timing is {dead_s:g} s (--classic)."

_NEXT = """\
  gapless demo --report story.html      the same, as a page with the traffic drawn over time
  gapless demo --mode {other:<17} {words}
  gapless demo --classic                the classic way with Neutron's own timing: 150 s of silence
  gapless lab run --fault sentinel-stop the host hangs instead; `gapless lab faults` lists what can be broken
  gapless lab up --hosts 3 --routers 6  leave a lab running, and look around: `gapless lab shell host-1`
  docs/openstack-client.md              these steps by hand, with the openstack client\
"""
_OTHER = {
    FailoverMode.STANDBY: (FailoverMode.RESCHEDULE, "without standbys: the controller moves the routers"),
    FailoverMode.RESCHEDULE: (FailoverMode.STANDBY, "with standbys, which take over by themselves"),
}
SAID = ("Rescheduling router", "looks dead", "took over router", "is made active anew", " is dead")
"""Words of the controller's log about hosts that die and routers that move."""


class DemoRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asked for. `page`: where the report is written to; `report`: its path."""

    settings: LabSettings
    report: str = ""
    page: Output | None = None


def main(argument: dict[str, Any]) -> int:
    """Entry for `enter.call`; returns the exit status."""
    request = msgspec.convert(argument, DemoRequest)
    out = console(highlight=False)
    out.print(_HEADLINE, style="bold")
    out.print(_introduction(request.settings))
    view = View(out, "gapless demo")
    try:
        with view:
            shown = run_until_signalled(_carry_out(request.settings, view))
    except KeyboardInterrupt as interrupt:
        words, status = f"interrupted by {interrupt} ({view.said()}); nothing is left behind", INTERRUPTED
    except (GaplessError, ExceptionGroup) as error:
        words, status = f"{first_of(error)} [while: {view.said()}]", 1
    else:
        return _end(request, out, shown)
    print(f"gapless demo: {words}", file=sys.stderr)
    return status


def _end(request: DemoRequest, out: Console, shown: "_Shown") -> int:
    """Tell the story again, and write it down."""
    _tell(out, shown)
    if request.page is not None:
        request.page.write(report.render(_page(shown)).encode())
        out.print(f"The report is in {request.report}\n")
    other, words = _OTHER[request.settings.mode]
    out.print("What to try next", style="bold")
    out.print(_NEXT.format(other=other, words=words))
    return 0 if shown.outcome.result.ok else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """What is left when the lab is gone."""

    outcome: Outcome
    names: dict[str, str]
    log: tuple[str, ...]
    """The controller's lines about the moves."""
    example: str
    """A router that moved, as `ip` shows it on its new host."""


async def _carry_out(settings: LabSettings, view: View) -> _Shown:
    async with Lab(settings, view) as lab:
        await lab.build()
        names = {tenant.router_id: tenant.router_name for tenant in lab.tenants}
        view.name_routers(names)
        outcome = await experiment(lab, await faults.choose(lab, FAULT, [VICTIM]))
        said = lab.controller.server.log.read_text(errors="replace").splitlines()
        return _Shown(
            outcome=outcome,
            names=names,
            log=tuple(line for line in said if any(words in line for words in SAID)),
            example=await _look_inside(lab, outcome),
        )


async def _look_inside(lab: Lab, outcome: Outcome) -> str:
    """The first router that moved, as an operator sees it on its new host."""
    if not outcome.moves:
        return ""
    move = outcome.moves[0]
    namespace = f"qrouter-{move['router_id']}"
    inside = lab.node(move["to_host"]).inside()
    addresses = await shell.run(*inside, "ip", "-netns", namespace, "-brief", "-4", "address")
    routes = await shell.run(*inside, "ip", "-netns", namespace, "route", "show", "default")
    return (
        f"{move['to_host']}# ip -netns {namespace} -br -4 address; ip -netns … route show default\n{addresses}{routes}"
    )


def _introduction(settings: LabSettings) -> str:
    liveness = settings.liveness
    if settings.has_standbys:
        timing = _STANDBY.format(
            arbiters="the three hosts"
            if settings.hosts == 3
            else "the two hosts and the controller's machine"
            if settings.has_arbiter
            else "some of the hosts",
            interval_ms=lease.DEFAULT.interval_s * 1000,
            lease_ms=lease.DEFAULT.lease_s * 1000,
        )
    else:
        timing = _RESCHEDULE.format(report_s=liveness.report_interval_s, dead_s=liveness.dead_after_s)
        if liveness.dead_after_s < CLASSIC.dead_after_s:
            timing += _SHORT.format(dead_s=CLASSIC.dead_after_s)
    return _INTRODUCTION.format(
        hosts=settings.hosts, routers=counted(settings.routers, "router"), victim=VICTIM, patience=timing
    )


def _tell(out: Console, shown: _Shown) -> None:
    found = shown.outcome.result
    moments = _moments(shown)
    out.print(Text.assemble(("\nThe story, in time order", "bold"), f" ({_units(moments)})"))
    out.print(_timed(moments))
    out.print(Text.assemble(("What the controller said", "bold"), "" if shown.log else ": nothing about it"))
    for line in shown.log:
        out.print(f"  {line}", soft_wrap=True)
    if shown.example:
        out.print("\nA router that moved, on its new host", style="bold")
        out.print(shown.example, soft_wrap=True)
    for part in table.tables(found):
        out.print(part)
    out.print()


def _moments(shown: _Shown) -> list[story.Moment]:
    outcome = shown.outcome
    struck = datetime.fromisoformat(outcome.result.at)
    return story.tell(outcome.result.description, outcome.recording, outcome.struck_ns, struck, outcome.moves)


def _units(moments: Sequence[story.Moment]) -> str:
    taken = any(moment.after_missed_ms is not None for moment in moments)
    return "seconds after the fault" + ("; milliseconds after the first beat missed" if taken else "")


def _timed(moments: Sequence[story.Moment]) -> Table:
    drawn = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    drawn.add_column(justify="right", no_wrap=True)
    taken = any(moment.after_missed_ms is not None for moment in moments)
    if taken:
        drawn.add_column(justify="right", no_wrap=True)
    drawn.add_column()
    for moment in moments:
        spans = moment.until_s is not None and moment.until_s - moment.at_s >= 0.001
        at = f"{moment.at_s:+.3f} to {moment.until_s:+.3f}" if spans else f"{moment.at_s:+.3f}"
        ms = "" if moment.after_missed_ms is None else f"{moment.after_missed_ms:.1f} ms"
        drawn.add_row(at, *([ms] if taken else []), moment.text)
    return drawn


def _page(shown: _Shown) -> report.Page:
    outcome, found = shown.outcome, shown.outcome.result
    versions = found.versions
    return report.Page(
        title="Gapless: a host dies, others take its routers over",
        summary=_summary(found),
        facts=(
            ("fault", found.description),
            ("struck at", found.at),
            ("mode", found.mode),
            (
                "probes",
                f"{found.probes.sent:,} sent in {found.probes.flows} flows, one each {found.probes.interval_ms:g} ms; "
                f"{found.probes.lost:,} lost; at most {found.probes.lateness_ms_max:g} ms late",
            ),
            ("gap", "the longest stretch without a reply"),
            ("double active frames", f"{found.double_active_frames}, of {found.wire.frames:,} that routers sent"),
            *_spans(found.timeline),
            ("machine", f"{versions.cores} cores, {versions.processor}, Linux {versions.kernel}"),
            ("software", f"Gapless {versions.gapless}, Python {versions.python}, {versions.nft}"),
        ),
        recording=outcome.recording,
        zero_ns=outcome.struck_ns,
        names=shown.names,
        marks=[report.Mark(at_s=moment.at_s, text=_marked(moment)) for moment in _moments(shown)],
        log=shown.log,
    )


def _marked(moment: story.Moment) -> str:
    if not moment.after_missed_ms:
        return moment.text
    ms, is_before = abs(moment.after_missed_ms), moment.after_missed_ms < 0
    return f"{moment.text}: {ms:.1f} ms {'before' if is_before else 'after'} the first beat missed"


def _summary(found: Result) -> str:
    gap, taken = found.gap_ms, found.timeline.takeover
    away = (
        f"{found.moved} of {found.routers} routers moved; their traffic was away for {figure(gap.median, 0)} ms "
        f"(median), {figure(gap.max, 0)} ms at most"
    )
    if taken is not None:
        return (
            f"{away}. Their standbys took {figure(taken.whole.max, 0)} ms for it, from the first beat that the "
            "arbiters missed."
        )
    return f"{away}, of which {found.liveness.dead_after_s:g} s is the silence after which a host counts as dead."


def _spans(times: Timeline) -> list[tuple[str, str]]:
    """Where the time went: what the takeover consists of, or what it takes to build a router."""
    taken = times.takeover
    if taken is None:
        return [("build", f"{figure(times.build_ms_per_router)} ms a router, all hosts together")]
    spans = (("silence", taken.silence), ("claim", taken.claim), ("open", taken.open), ("announce", taken.announce))
    return [("takeover", ", ".join(f"{name} {figure(spread.max)} ms" for name, spread in spans) + " (at most)")]
