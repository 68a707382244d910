"""`gapless server`: run the controller until SIGTERM or Ctrl-C."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gapless.cli.application import application
from gapless.config import API_PORT, LINK_PORT, MOST_STANDBYS, Address, Liveness, ServerSettings
from gapless.model.lease import TIMINGS
from gapless.observe.log import LogFormat, configure


class TimingName(StrEnum):
    """The timings of the lease that there are."""

    DEFAULT = "default"
    FAST = "fast"


app = application()


@app.command()
def server(
    state_dir: Annotated[
        Path,
        typer.Option(
            envvar="GAPLESS_STATE_DIR",
            help="Directory for the database and the cluster's key; made if it is not there. Keep it.",
        ),
    ],
    database: Annotated[
        str,
        typer.Option(
            envvar="GAPLESS_DATABASE",
            metavar="URL",
            help="sqlite:////absolute/path; default: a file in the state directory.",
        ),
    ] = "",
    api: Annotated[
        str,
        typer.Option(envvar="GAPLESS_API_LISTEN", metavar="ADDR", help="HOST, HOST:PORT or :PORT for the Neutron API."),
    ] = f"127.0.0.1:{API_PORT}",
    api_name: Annotated[
        list[str] | None,
        typer.Option(
            envvar="GAPLESS_API_NAME",
            metavar="NAME",
            help="A name that clients may call the API by, beside its addresses and localhost. May be repeated. "
            "Without one any name will do, except on loopback.",
        ),
    ] = None,
    link: Annotated[
        str,
        typer.Option(
            envvar="GAPLESS_LINK_LISTEN", metavar="ADDR", help="HOST, HOST:PORT or :PORT for hosts to connect to."
        ),
    ] = f"127.0.0.1:{LINK_PORT}",
    agent_down_time: Annotated[
        float,
        typer.Option(
            envvar="GAPLESS_AGENT_DOWN_TIME",
            metavar="SECONDS",
            help="Silence after which a host counts as down. After twice that it is dead, and what it had is bound "
            "elsewhere.",
        ),
    ] = 75.0,
    report_interval: Annotated[
        float,
        typer.Option(
            envvar="GAPLESS_REPORT_INTERVAL",
            metavar="SECONDS",
            help="How often hosts report; at most half of agent-down-time, so that one lost report is no death.",
        ),
    ] = 30.0,
    brake_share: Annotated[
        float,
        typer.Option(
            envvar="GAPLESS_BRAKE_SHARE",
            metavar="FRACTION",
            min=0.0,
            max=1.0,
            help="When more than this share of hosts looks dead at once, nothing moves; see `gapless brake`.",
        ),
    ] = 0.5,
    agent_patience: Annotated[
        float,
        typer.Option(
            envvar="GAPLESS_AGENT_PATIENCE",
            metavar="SECONDS",
            help="How long a host's agent may not work (cannot start, hangs, ends again and again) before routers that "
            "have standbys leave that host, a few at a time. They forward all the while.",
        ),
    ] = 60.0,
    timing: Annotated[
        TimingName,
        typer.Option(
            envvar="GAPLESS_TIMING",
            help="How soon hosts take over from a dead one: `default` renews leases each 50 ms and lets them end after "
            "200 ms; `fast` 10 ms and 50 ms, for hosts that allow real-time priority. After a change every "
            "host begins anew: expect a gap.",
        ),
    ] = TimingName.DEFAULT,
    standbys: Annotated[
        int,
        typer.Option(
            envvar="GAPLESS_STANDBYS",
            metavar="NUMBER",
            min=1,
            max=MOST_STANDBYS,
            help="How many hosts stand by for each router, by rank: when its host dies, and the first with it, the "
            "second takes over. Each costs a host's memory. That so many hosts may die at once takes arbiters enough, "
            "so five hosts for two, seven for three.",
        ),
    ] = 1,
    physical_mtu: Annotated[
        int,
        typer.Option(
            envvar="GAPLESS_PHYSICAL_MTU",
            metavar="BYTES",
            min=578,
            max=65535,
            help="MTU of the network between hosts. Tenant networks (VXLAN) get 50 less.",
        ),
    ] = 1500,
    keep_moves: Annotated[
        float,
        typer.Option(
            envvar="GAPLESS_KEEP_MOVES",
            metavar="DAYS",
            min=0.0,
            max=36500.0,
            help="How long the records of moves are kept, which `gapless failovers` shows; 0: for ever. A router's "
            "last move is always kept.",
        ),
    ] = 90.0,
    log_format: Annotated[
        LogFormat, typer.Option(envvar="GAPLESS_LOG_FORMAT", help="text for people, json for collectors.")
    ] = LogFormat.TEXT,
) -> None:
    """Run the controller: Neutron API, planner, records.

    It takes what users want (OpenStack's network API), decides on which host each router runs and which hosts stand
    by for it, tells them, and records every move. Routers of failover mode standby, the default, are taken over by
    their standbys when a host dies, without the controller (--timing). Those of mode reschedule are moved by the
    controller when their host has been silent for twice --agent-down-time. While the controller is away everything
    goes on forwarding, and takeovers go on.

    The first start makes the database and the cluster's key in --state-dir. Each host needs a copy of the key file
    (mode 0600) to connect.

    Examples:

        gapless server --state-dir /var/lib/gapless

        gapless server --state-dir /var/lib/gapless --api 10.0.0.1 --link 10.0.0.1 --log-format json

        gapless server --state-dir /tmp/try --agent-down-time 4 --report-interval 1     (dead after 8 s)

    API and control link have no TLS: let them listen on a network that you trust, or leave them on loopback. With
    the defaults of --agent-down-time and --report-interval, which are Neutron's, a silent host is dead after 150 s.
    """
    settings = ServerSettings(
        state_dir=state_dir,
        database_url=database,
        api=Address.parse(api, API_PORT),
        api_names=tuple(api_name or ()),
        link=Address.parse(link, LINK_PORT),
        liveness=Liveness(
            report_interval_s=report_interval,
            agent_down_time_s=agent_down_time,
            brake_share=brake_share,
            agent_patience_s=agent_patience,
        ),
        lease=TIMINGS[timing.value],
        standbys=standbys,
        physical_mtu=physical_mtu,
        keep_moves_days=keep_moves,
    )
    configure("controller", log_format)
    from gapless.controller.server import main  # late: --help should not wait for half a second of imports

    main(settings)
