"""`gapless demo`: the main job, before your eyes."""

import os
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from gapless.lab import enter, output
from gapless.lab.demo import DemoRequest
from gapless.lab.settings import CLASSIC, QUICK, LabSettings

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_EPILOG = "Needs no root. Everything is built in namespaces of its own and is gone when it ends, also with Ctrl-C."


@app.command(epilog=_EPILOG)
def demo(
    hosts: Annotated[int, typer.Option(min=2, help="Hosts that carry routers.")] = 3,
    routers: Annotated[int, typer.Option(min=1, help="Routers, each with a VM behind it.")] = 6,
    classic: Annotated[bool, typer.Option("--classic", help="Neutron's own timing: 150 s of silence.")] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write a self-contained page with the traffic drawn over time.")
    ] = None,
) -> None:
    """Watch a host die and its routers run elsewhere: real namespaces, real packets, under two minutes.

    Three hosts carry six routers. Host 2's agent is killed with -9, then its machine loses power. The controller
    notices the silence, gives the routers to the other hosts, they build them, and the VMs talk again.
    """
    liveness = CLASSIC if classic else QUICK
    settings = LabSettings(
        hosts=hosts,
        routers=routers,
        report_interval_s=liveness.report_interval_s,
        agent_down_time_s=liveness.agent_down_time_s,
    )
    page = output.opened(report, "the report") if report else -1
    request = DemoRequest(settings=settings, report=str(report or ""), report_fd=page)
    argv = enter.command(enter.call("gapless.lab.demo:main", msgspec.to_builtins(request)))
    if report:
        os.set_inheritable(page, True)
    os.execv(argv[0], argv)
