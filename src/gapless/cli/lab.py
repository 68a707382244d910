"""`gapless lab`: hosts, switches, VMs and an outside world on this machine, with the real processes, without root."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from gapless.cli.application import application
from gapless.cli.front import Front
from gapless.config import MOST_STANDBYS
from gapless.errors import InvalidRequest, Unavailable
from gapless.lab import faults, runner, running, standing
from gapless.lab.findings import table
from gapless.lab.findings.output import Output
from gapless.lab.findings.result import Result
from gapless.lab.machines import enter, layout, nodes, room
from gapless.lab.measuring.connections import MIXES, kinds_of
from gapless.lab.rounds import Rounds
from gapless.lab.runner import RunRequest
from gapless.lab.settings import CLASSIC, MOST_PROBED, QUICK, TIMINGS, LabSettings, mode_of
from gapless.lab.standing import Request, Status, UpRequest
from gapless.model.router import DEFAULT_FAILOVER_MODE, FailoverMode
from gapless.observe.console import console
from gapless.observe.words import counted

app = application(__doc__, lists=True)

Hosts = Annotated[int, typer.Option(help="Hosts that carry routers.")]
Routers = Annotated[int, typer.Option(help="Tenants, each with a router, a VM and a floating IP.")]
Mode = Annotated[str, typer.Option(help=f"Failover mode of the routers: {', '.join(FailoverMode)}.")]
Timing = Annotated[str, typer.Option(help=f"How patient hosts are with each other: {', '.join(TIMINGS)}.")]
Standbys = Annotated[int, typer.Option(min=1, max=MOST_STANDBYS, help="Standbys a router, by rank.")]
ReportInterval = Annotated[float, typer.Option(help="Seconds between a host's reports.")]
DownTime = Annotated[float, typer.Option(help="Neutron's agent_down_time in seconds; twice that means dead.")]
Classic = Annotated[bool, typer.Option("--classic", help="Neutron's own patience: 30 s, 75 s, so 150 s.")]
Interval = Annotated[
    float, typer.Option("--interval-ms", "--interval", help="Milliseconds between probes; 0: as many allow.")
]
Packed = Annotated[
    bool,
    typer.Option("--packed", help="All routers on the first host; the others join when those run, as standbys."),
]
Flows = Annotated[int, typer.Option(help="Connections through the routers, TCP and UDP, by SNAT and to floating IPs.")]
Kinds = Annotated[
    str,
    typer.Option(
        help=f"Their kinds: {', '.join(MIXES)}, or kinds by name, separated by commas, each as often as named."
    ),
]
FlowSync = Annotated[
    bool, typer.Option("--flow-sync/--no-flow-sync", help="Whether hosts copy connections to their successors.")
]
Name = Annotated[str, typer.Option(help="Which lab, if there are several.")]
FAULT_HELP = "What to break; see `gapless lab faults`."


def _patience(report_interval: float, agent_down_time: float, *, classic: bool) -> tuple[float, float]:
    """Seconds between a host's reports, and Neutron's agent_down_time."""
    return (CLASSIC.report_interval_s, CLASSIC.agent_down_time_s) if classic else (report_interval, agent_down_time)


@app.command()
def run(
    fault: Annotated[
        list[str] | None, typer.Option(help=f"{FAULT_HELP} Several: one after another. Else host-power.")
    ] = None,
    host: Annotated[list[str] | None, typer.Option(help="Host to strike; else the one with the most routers.")] = None,
    hosts: Hosts = 3,
    routers: Routers = 3,
    packed: Packed = False,
    mode: Mode = DEFAULT_FAILOVER_MODE.value,
    timing: Timing = "default",
    standbys: Standbys = 1,
    report_interval: ReportInterval = QUICK.report_interval_s,
    agent_down_time: DownTime = QUICK.agent_down_time_s,
    classic: Classic = False,
    interval: Interval = 0.0,
    flows: Flows = 0,
    kinds: Kinds = "all",
    flow_sync: FlowSync = True,
    probed: Annotated[int, typer.Option(min=1, help="Of more routers, probes go through this many.")] = MOST_PROBED,
    one_way: Annotated[
        bool, typer.Option("--one-way", help="Probe each router in one direction only, out and in by turns.")
    ] = False,
    at_once: Annotated[
        int, typer.Option(min=0, help="Routers that a drain has leave at a time; 0: as `gapless drain` does.")
    ] = 0,
    hold: Annotated[
        float,
        typer.Option(min=0, help="Seconds that the fault lasts, or is looked at; 0: as it needs."),
    ] = 0.0,
    gap_ms: Annotated[
        float, typer.Option(min=0, help="Fail when a router struck has a longer gap; 0: any length will do.")
    ] = 0.0,
    bystanders_ms: Annotated[
        float, typer.Option(min=0, help="Fail when a router that was not struck has a longer gap; 0: any length.")
    ] = 0.0,
    rounds: Annotated[
        int, typer.Option(min=1, help="How often, all in one lab, which is made well and even again in between.")
    ] = 1,
    repeat: Annotated[int, typer.Option(min=1, help="How often, each time with a new lab.")] = 1,
    json: Annotated[Path | None, typer.Option(help="Write what was found to this file.")] = None,
) -> None:
    """Build a lab, break something, measure, take it away. Exit 0: traffic is back, each router is on one host."""
    names = tuple(fault or ("host-power",))
    if repeat > 1 and (rounds > 1 or len(names) > 1):
        raise InvalidRequest("either one fault in labs of its own (--repeat), or rounds in one lab: not both")
    report_interval, agent_down_time = _patience(report_interval, agent_down_time, classic=classic)
    settings = LabSettings(
        hosts=hosts,
        routers=routers,
        packed=packed,
        mode=mode_of(mode),
        timing=timing,
        standbys=standbys,
        report_interval_s=report_interval,
        agent_down_time_s=agent_down_time,
        interval_ms=interval,
        flows=flows,
        kinds=kinds_of(kinds),
        flow_sync=flow_sync,
        probed=probed,
        one_way=one_way,
        at_once=at_once,
    )
    room.check(settings)
    for name in names:
        faults.check(settings, name, host or ())
    room.check(settings, rounds=rounds * len(names))
    request = RunRequest(
        settings=settings,
        faults=names,
        rounds=rounds,
        hosts=tuple(host or ()),
        hold_s=hold,
        gap_ms=gap_ms,
        bystanders_ms=bystanders_ms,
    )
    results: list[Result | Rounds] = []
    with Front() as front:
        file = Output.opened(json, "what was found") if json else None
        try:
            status = _run_all(front, request, repeat, results)
        finally:
            if file:
                _keep(file, results, repeat)
    if repeat > 1 and results:
        console().print(table.summary([found for found in results if isinstance(found, Result)]))
        if broken := _broken(results, repeat):
            print(f"gapless lab: {broken}", file=sys.stderr)
    if len(results) < repeat:
        raise typer.Exit(status)
    raise typer.Exit(0 if all(found.ok for found in results) else 1)


def _run_all(front: Front, request: RunRequest, repeat: int, results: list[Result | Rounds]) -> int:
    """Run it that often, and add what was found to `results`, each when it is over; the last status."""
    status = 0
    for number in range(repeat):
        if repeat > 1:
            print(f"run {number + 1} of {repeat}")
        status, found = _run_once(front, request)
        if found is not None:
            results.append(found)
        if found is None or status == runner.INTERRUPTED:
            break
    return status


def _keep(file: Output, results: Sequence[Result | Rounds], repeat: int) -> None:
    """Write what was found by the runs that are over; take the file away where none is."""
    if not results:
        file.discard()
        return
    whole = results[0] if repeat == 1 else {"runs": results, "broken": _broken(results, repeat)}
    file.write(msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n")


def _broken(results: Sequence[Result | Rounds], repeat: int) -> str:
    """Why there are fewer runs than were asked for; empty where there are not."""
    return f"broken off: {len(results)} of {repeat} runs are over" if len(results) < repeat else ""


def _run_once(front: Front, request: RunRequest) -> tuple[int, Result | Rounds | None]:
    with TemporaryFile() as file:
        request = msgspec.structs.replace(request, result_fd=file.fileno())
        argv = enter.call("gapless.lab.runner:main", msgspec.to_builtins(request))
        status = front.run(argv, descriptors=[file.fileno()])
        file.seek(0)
        written = file.read()
    kind: type[Result] | type[Rounds] = Rounds if request.has_rounds else Result
    return status, msgspec.json.decode(written, type=kind) if written else None


@app.command()
def up(
    hosts: Hosts = 3,
    routers: Routers = 3,
    packed: Packed = False,
    mode: Mode = DEFAULT_FAILOVER_MODE.value,
    timing: Timing = "default",
    standbys: Standbys = 1,
    report_interval: ReportInterval = QUICK.report_interval_s,
    agent_down_time: DownTime = QUICK.agent_down_time_s,
    classic: Classic = False,
    flows: Flows = 0,
    kinds: Kinds = "all",
    flow_sync: FlowSync = True,
    name: Name = "lab",
) -> None:
    """Build a lab and leave it running in the background."""
    report_interval, agent_down_time = _patience(report_interval, agent_down_time, classic=classic)
    settings = LabSettings(
        hosts=hosts,
        routers=routers,
        packed=packed,
        mode=mode_of(mode),
        timing=timing,
        standbys=standbys,
        report_interval_s=report_interval,
        agent_down_time_s=agent_down_time,
        flows=flows,
        kinds=kinds_of(kinds),
        flow_sync=flow_sync,
    )
    room.check(settings)
    read_end, write_end = os.pipe()
    request = UpRequest(settings=settings, ready_fd=write_end)
    argv = enter.call("gapless.lab.standing:main", msgspec.to_builtins(request))
    process = subprocess.Popen(
        running.command(argv, name=name), pass_fds=[write_end], stdin=subprocess.DEVNULL, start_new_session=True
    )
    os.close(write_end)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with os.fdopen(read_end, "rb") as ready:
        try:
            is_ready = ready.readline() == standing.READY
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            print("gapless lab: interrupted; nothing is left behind", file=sys.stderr)
            raise typer.Exit(runner.INTERRUPTED) from None
    if not is_ready:
        raise typer.Exit(process.wait() or 1)
    print(_hint(settings, name))


def _hint(settings: LabSettings, name: str) -> str:
    which = "" if name == "lab" else f" --name {name}"
    return "\n".join(
        (
            f"The lab runs: {counted(settings.hosts, 'host')}, {counted(settings.routers, 'router')}; hosts are dead "
            f"after {settings.liveness.dead_after_s:g} s of silence.",
            f"  gapless lab exec{which} controller -- openstack network agent list",
            f"  gapless lab exec{which} vm-1 -- ping 198.51.100.10",
            f"  gapless lab shell{which} host-1          then: ip netns list",
            f"  gapless lab fault{which} host-power      measured, as `gapless lab run` does",
            f"  gapless lab status{which}",
            f"  gapless lab down{which}",
        )
    )


@app.command()
def down(name: Name = "lab") -> None:
    """End a running lab. Everything of it is gone then."""
    running.the(name).end()
    print(f"lab '{name}' is gone")


@app.command()
def status(name: Name = "lab") -> None:
    """Hosts and routers of a running lab, by a look into every namespace. Exit 1 if something is wrong."""
    found = msgspec.convert(running.the(name).ask(Request(ask="status")), Status)
    hosts = Table(title=f"lab '{name}': {counted(found.routers, 'router')}", title_justify="left")
    for column in ("host", "power", "controller says", "routers active"):
        hosts.add_column(column)
    for host in found.hosts:
        hosts.add_row(host.name, "on" if host.power else "off", host.standing, str(host.routers))
    out = console()
    out.print(hosts)
    for problem in found.problems:
        out.print(Text.assemble(("problem", "red"), f": {problem}"))
    raise typer.Exit(1 if found.problems else 0)


@app.command()
def fault(
    fault: Annotated[str, typer.Argument(metavar="FAULT", help=FAULT_HELP)],
    host: Annotated[list[str] | None, typer.Argument(help="Else the one with the most routers.")] = None,
    name: Name = "lab",
) -> None:
    """Break something in a running lab, and measure."""
    faults.kind_of(fault)
    lab = running.the(name)
    out = console()
    request = Request(ask="fault", fault=fault, hosts=tuple(host or ()))
    answer = lab.ask(request, lambda words: out.print(f"  {words}", style="dim", highlight=False))
    found = msgspec.convert(answer, Result)
    for part in table.tables(found):
        out.print(part)
    raise typer.Exit(0 if found.ok else 1)


@app.command(name="faults")
def faults_() -> None:
    """List what can be broken, and what it may cost in each failover mode; "none": not a single probe."""
    known = Table("fault", *(str(mode) for mode in FailoverMode), "what is broken", box=None)
    for name, kind in faults.FAULTS.items():
        known.add_row(name, *(kind.expects(mode).gap for mode in FailoverMode), kind.summary)
    console().print(known)


@app.command()
def shell(
    node: Annotated[str, typer.Argument(help="controller, host-1, compute, outside, vm-1, ...")] = layout.CONTROLLER,
    name: Name = "lab",
) -> None:
    """Open a shell on a node of a running lab."""
    _become(running.the(name), node, [os.environ.get("SHELL", "/bin/sh")])


@app.command(name="exec", context_settings={"ignore_unknown_options": True})
def exec_(
    node: Annotated[str, typer.Argument(help="controller, host-1, compute, outside, vm-1, ...")],
    command: Annotated[list[str], typer.Argument(help="What to run there, after --.")],
    name: Name = "lab",
) -> None:
    """Run a command on a node of a running lab; its exit status is the command's."""
    _become(running.the(name), node, command)


def _become(lab: running.RunningLab, node: str, command: list[str]) -> None:
    argv = [*lab.inside(node), *command]
    environment = {**nodes.client_environment(), "GAPLESS_NODE": node}
    try:
        os.execvpe(argv[0], argv, {**os.environ, **environment})
    except OSError as error:
        raise Unavailable(f"{argv[0]}: {error.strerror}") from error
