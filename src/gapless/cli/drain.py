"""`gapless drain`: take a host out of service, and stay until its routers have left it."""

import time
from collections import Counter
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from gapless.cli.application import application
from gapless.cli.routers import present, short_ids, shown
from gapless.cli.talk import DEFAULT_API, Api, AsJson, console, get, get_patiently, host_path, print_json, put
from gapless.core.planner.copies import PATIENCE_S
from gapless.observe.words import counted

app = application()

LOOK_S = 0.5
STUCK_NAMED = 5

_KINDS = {
    "switchover": "its standby has it built: a few milliseconds without traffic",
    "build": "somebody has to build it first",
    "stuck": "stays: no host can take it",
}


@app.command()
def drain(
    host: Annotated[str, typer.Argument(metavar="HOST", help="A name, as `gapless status` shows it.")],
    at_once: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help="Routers that may be on their way at a time; 4 if nobody says otherwise."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show only where each router would go.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Stay until all routers have left.")] = True,
    timeout: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="Stay so long at most, and then say what is left.")
    ] = None,
    api: Api = DEFAULT_API,
    json: AsJson = False,
) -> None:
    """Take a host out of service: its routers leave it, a few at a time, and it gets no others.

    A router of failover mode standby goes to its standby, once that has it built. Nothing is ever active twice, and
    what no host can take stays where it runs. It is the same as `openstack network agent set --disable`.

    To end this command, by Ctrl-C for instance, ends nothing: routers go on leaving. `gapless drain HOST` looks on
    again; `gapless undrain HOST` keeps there what has not left yet. A host that is drained can be switched off; put it
    back with `gapless undrain`.

    Exit status: 0 once nothing is left there (or with --no-wait), 1 if something is when the time is over, or somebody
    puts the host back into service meanwhile.

    Examples:

        gapless drain net1 --dry-run

        gapless drain net1 --at-once 16

        gapless drain net1 --timeout 120 && ssh net1 poweroff
    """
    if dry_run:
        _show_prospects(api, host, json=json)
        return
    put(api, host_path(host, "drain"), {"drain": {"wanted": True} | ({} if at_once is None else {"at_once": at_once})})
    try:
        left, is_taken_back = _watch(api, host, 0.0 if not wait else timeout, is_told=wait and not json)
    except KeyboardInterrupt:
        typer.echo(f"\n{_how_to_go_on(host)}", err=True)
        raise typer.Exit(130) from None
    if json:
        print_json({"drain": left})
    if wait and not is_over(left):
        typer.echo(_taken_back(left) if is_taken_back else f"{_progress(left)}. {_how_to_go_on(host)}", err=True)
        raise typer.Exit(1)


def is_over(drain: dict[str, Any]) -> bool:
    """Whether nothing is left on the host, and everything that left it runs elsewhere."""
    return not (drain["admin_state_up"] or drain["routers"] or drain["leaving"] or drain["on_their_way"])


def _how_to_go_on(host: str) -> str:
    return (
        f"The drain goes on by itself: `gapless drain {host}` looks on again, `gapless undrain {host}` keeps there "
        "what has not left yet."
    )


def _taken_back(left: dict[str, Any]) -> str:
    stay = counted(left["routers"], "router")
    return f"{left['host']} was put back into service meanwhile, with {stay}: it is not drained."


def _watch(api: str, host: str, timeout: float | None, *, is_told: bool) -> tuple[dict[str, Any], bool]:
    """Until it is over, or the time is, or somebody puts the host back into service; returns what was seen last, and
    whether it was that. Says what changed.
    """
    end = None if timeout is None else time.monotonic() + timeout
    told, stuck, has_begun = "", dict[str, int](), False
    while True:
        drain = get_patiently(api, host_path(host, "drain"))["drain"]
        if is_told and (line := _progress(drain)) != told:
            console.print(line, soft_wrap=True)
            told = line
        if is_told and (reasons := _reasons(drain["stuck"])) != stuck:
            for reason in reasons.keys() - stuck.keys():
                console.print(Text.assemble("  ", ("stays:", "yellow"), f" {reason}"), soft_wrap=True)
            stuck = reasons
        is_taken_back = has_begun and drain["admin_state_up"]
        if is_over(drain) or is_taken_back or (end is not None and time.monotonic() >= end):
            return drain, is_taken_back
        has_begun |= not drain["admin_state_up"]  # The planner hears of it a moment after the store.
        time.sleep(LOOK_S)


def _progress(drain: dict[str, Any]) -> str:
    if is_over(drain):
        return f"{drain['host']} is drained: nothing is left there, and it can be switched off"
    way = drain["leaving"] + drain["on_their_way"]
    said = f"{drain['host']}: {counted(drain['routers'], 'router')} to go, {way} on their way"
    return said + (f", {len(drain['stuck'])} of them stuck" if drain["stuck"] else "")


def _reasons(stuck: dict[str, str]) -> dict[str, int]:
    """Each reason once, with how many have it; which routers those are is in `gapless status`."""
    count = Counter(reason.replace(router_id, "ID") for router_id, reason in stuck.items())
    return dict(count.most_common(STUCK_NAMED))


def _show_prospects(api: str, host: str, *, json: bool) -> None:
    found = get(api, host_path(host, "prospects"))["prospects"]
    if json:
        print_json({"prospects": found})
        return
    names, short = present(api), short_ids(each["router_id"] for each in found)
    table = Table(title=f"{counted(len(found), 'router')} of {host}; nothing was done", title_justify="left")
    table.add_column("router", no_wrap=True)
    for column in ("how", "to", "why"):
        table.add_column(column)
    for each in found:
        name = shown(names.get(each["router_id"], ""), short[each["router_id"]])
        table.add_row(name, each["kind"], each["host"] or "-", each["reason"])
    console.print(table)
    for kind, number in Counter(each["kind"] for each in found).most_common():
        console.print(f"{kind}: {counted(number, 'router')} ({_KINDS[kind]})", soft_wrap=True)
    if lacking := sum(each.get("copied") is False for each in found):
        standby = f"{counted(lacking, 'router')} would go to a standby that has not all connections now"
        what = f"{standby}: they are waited for, {PATIENCE_S:g} s at most, and then some may break"
        console.print(Text(what, style="yellow"), soft_wrap=True)
