"""`gapless demo`: the main job, before your eyes."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from gapless.cli.application import application
from gapless.cli.front import Front
from gapless.errors import InvalidRequest
from gapless.lab.demo import DemoRequest
from gapless.lab.findings.output import Output
from gapless.lab.machines import enter, room
from gapless.lab.settings import CLASSIC, QUICK, LabSettings, mode_of
from gapless.model.router import DEFAULT_FAILOVER_MODE, FailoverMode

app = application()

_EPILOG = "Needs no root. Everything is built in namespaces of its own and is gone when it ends, also with Ctrl-C."


@app.command(epilog=_EPILOG)
def demo(
    hosts: Annotated[int, typer.Option(min=2, help="Hosts that carry routers.")] = 3,
    routers: Annotated[int, typer.Option(min=1, help="Routers, each with a VM behind it.")] = 6,
    mode: Annotated[
        str | None,
        typer.Option(help="standby: another host takes over by itself. reschedule: the controller moves the routers."),
    ] = None,
    classic: Annotated[
        bool, typer.Option("--classic", help="--mode reschedule with Neutron's own timing: 150 s of silence.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write a self-contained page with the traffic drawn over time.")
    ] = None,
) -> None:
    """Watch a host die and others take its routers over: real namespaces, real packets, under a minute.

    Three hosts carry six routers, and each router stands by on another host. Host 2's agent is killed with -9, then its
    machine loses power. The other hosts miss its beats, agree that its lease is over, and open its routers within some
    200 ms, without asking the controller. With --mode reschedule the controller does it, the classic way.
    """
    liveness = CLASSIC if classic else QUICK
    default = FailoverMode.RESCHEDULE if classic else DEFAULT_FAILOVER_MODE
    if classic and mode and mode_of(mode) is not FailoverMode.RESCHEDULE:
        raise InvalidRequest(f"--classic is --mode reschedule with Neutron's own timing, and not --mode {mode}")
    settings = LabSettings(
        hosts=hosts,
        routers=routers,
        mode=mode_of(mode) if mode else default,
        report_interval_s=liveness.report_interval_s,
        agent_down_time_s=liveness.agent_down_time_s,
    )
    if settings.mode is FailoverMode.OFF:
        raise InvalidRequest("with --mode off nobody takes a dead host's routers over: --mode standby or reschedule")
    room.check(settings)
    with Front() as front:
        page = Output.opened(report, "the report") if report else None
        request = DemoRequest(settings=settings, report=str(report or ""), page=page and page.to_write())
        try:
            status = _run(front, request)
        finally:
            if page:
                page.discard()
    raise typer.Exit(status)


def _run(front: Front, request: DemoRequest) -> int:
    argv = enter.call("gapless.lab.demo:main", msgspec.to_builtins(request))
    return front.run(argv, descriptors=[request.page.file] if request.page else [])
