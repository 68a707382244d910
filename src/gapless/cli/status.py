"""`gapless status`: hosts and routers, and why each is where it is."""

from typing import Any

from rich.table import Table
from rich.text import Text

from gapless.cli.application import application
from gapless.cli.routers import short_ids, shown
from gapless.cli.talk import DEFAULT_API, Api, AsJson, console, duration, get, local_time, print_json
from gapless.observe.words import counted

app = application()

NARROW = 120
"""Of a line, in columns: what is less has a router's name above the digits of its id."""

_COLOURS = {
    "alive": "green",
    "active": "green",
    "dead": "bold red",
    "failed": "bold red",
    "ready": "green",
    "silent": "yellow",
    "waiting": "yellow",
    "draining": "cyan",
    "drained": "cyan",
    "degraded": "yellow",
    "broken": "bold red",
}


@app.command()
def status(api: Api = DEFAULT_API, json: AsJson = False) -> None:
    """Show hosts and routers, and why each is where it is.

    A host is alive while it was heard within agent-down-time, silent after that, dead after twice that: only then does
    the controller move what it had. A draining one was taken out of service by an operator. A router that is not
    active says what it waits for. A degraded one forwards, as far as its host can tell, and does not stay right; a
    broken one could not be repaired. A standby that is ready takes over by itself within a lease, if the router's host
    dies, and the standbys before it: then most of the arbiters, which grant the leases, have to be alive. One that is
    not copied has not all of the router's connections now, and some would break; a host of an older release, or without
    flow sync, does not say ("copies unknown").

    Examples:

        gapless status

        gapless status --json | jq '.routers[] | select(.state != "active")'

        GAPLESS_API=http://10.0.0.1:9696 gapless status
    """
    hosts = get(api, "hosts")["hosts"]
    routers = get(api, "routers")["routers"]
    brake = get(api, "brake")["brake"]
    if json:
        print_json({"hosts": hosts, "routers": routers, "brake": brake})
        return
    if brake["engaged"]:
        console.print(Text.assemble(("The brake is on:", "bold red"), f" {brake['reason']}"), soft_wrap=True)
    for warning in smaller_tables(hosts, routers):
        console.print(Text(warning, style="yellow"), soft_wrap=True)
    console.print(_hosts(hosts))
    console.print(_routers(routers))


def smaller_tables(hosts: list[dict[str, Any]], routers: list[dict[str, Any]]) -> list[str]:
    """Standbys whose kernels track fewer connections than those of the hosts whose routers they are to take over."""
    most = {host["name"]: host["tracked_most"] for host in hosts if host["tracked_most"] is not None}
    pairs = {(each["host"], router["host"]) for router in routers for each in router["standbys"]}
    return [
        f"{standby} tracks {most[standby]:,} connections of a router at most, and {host}, whose routers it is to take "
        f"over, {most[host]:,}: raise net.netfilter.nf_conntrack_max on {standby}"
        for standby, host in sorted(pairs, key=str)
        if standby in most and host in most and most[standby] < most[host]
    ]


def _hosts(hosts: list[dict[str, Any]]) -> Table:
    table = Table(title=counted(len(hosts), "host"), title_justify="left")
    for column in ("host", "standing", "routers", "lease", "last heard", "why"):
        table.add_column(column)
    for host in hosts:
        heard = local_time(host["heard_at"]) if host["heard_at"] else "not since the start"
        said = _coloured(host["standing"]), str(host["routers"]), _lease(host), heard, host["reason"]
        table.add_row(host["name"], *said)
    return table


def _lease(host: dict[str, Any]) -> str:
    without_s = host["without_lease_s"]
    lease = "holds it" if host["holds_lease"] else "-" if without_s is None else f"none for {without_s:.0f} s"
    return ", ".join(filter(None, (lease, "arbiter" if host["arbiter"] else "")))


def _routers(routers: list[dict[str, Any]]) -> Table:
    table = Table(title=counted(len(routers), "router"), title_justify="left")
    short = short_ids(router["router_id"] for router in routers)
    table.add_column("router", no_wrap=console.width >= NARROW)
    for column in ("host", "epoch", "state", "standby", "why"):
        table.add_column(column)
    for router in routers:
        state = _coloured(router["state"])
        if router["health"] in ("degraded", "broken"):
            state = Text.assemble(state, ", ", _coloured(router["health"]))
        standbys = [_standby(each) for each in router["standbys"]]
        standby = Text(", ").join(standbys) if standbys else "-"
        host, epoch = router["host"] or "-", str(router["epoch"])
        ailment = "" if router["ailment"] in router["reason"] else f"{router['ailment']}; "
        name = shown(router["name"], short[router["router_id"]])
        table.add_row(name, host, epoch, state, standby, f"{ailment}{router['reason']}{_damped(router)}")
    return table


_COPIED = {True: ("copied", "green"), False: ("not copied", "yellow"), None: ("copies unknown", "")}


def _standby(standby: dict[str, Any]) -> Text:
    """A host, how it is, and, where it could take over, whether it has all connections. An older controller says
    nothing of these.
    """
    said = Text.assemble(standby["host"], " ", _coloured(standby["state"]))
    return Text.assemble(said, ", ", _COPIED[standby.get("copied")]) if standby["state"] == "ready" else said


def _damped(router: dict[str, Any]) -> str:
    """For how long a router stays, at most, that its host cannot run."""
    damped_s = router["damped_s"]
    return "" if damped_s is None else f" (for {duration(1000 * damped_s)} from now)"


def _coloured(word: str) -> Text:
    return Text(word, style=_COLOURS.get(word, ""))
