"""`gapless rebalance`: even out how many routers are active on each host."""

import time
from collections import Counter
from typing import Annotated, Any

import typer

from gapless.cli.application import application
from gapless.cli.talk import DEFAULT_API, Api, console, get, put
from gapless.observe.words import counted

app = application()

LOOK_S = 0.5
ARRIVE_S = 60.0
"""How long a router may be on its way before others are begun without it."""


@app.command()
def rebalance(
    at_once: Annotated[int, typer.Option(min=1, max=1000, help="Routers that may be on their way at a time.")] = 4,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show only what would move.")] = False,
    api: Api = DEFAULT_API,
) -> None:
    """Even out how many routers are active on each host, after a drain or a host's return, for instance.

    Only routers of failover mode standby move. Where the other host is not their standby yet, it builds them first, and
    they have no other standby meanwhile; to move costs a few milliseconds without traffic. Ctrl-C begins no more of
    them; what is on its way arrives.

    Examples:

        gapless rebalance --dry-run

        gapless rebalance --at-once 16
    """
    found = get(api, "rebalance")["rebalance"]
    if not found:
        console.print("Nothing to move: hosts are as even as they can be.")
        return
    for (source, target, is_ready), number in sorted(_ways(found).items()):
        first = "" if is_ready else ", to be built first"
        console.print(f"{source} to {target}: {counted(number, 'router')}{first}", soft_wrap=True)
    if dry_run:
        console.print("Nothing was done.")
        return
    try:
        moved = _carry_out(api, at_once, len(found))
    except KeyboardInterrupt:
        typer.echo("\nNo more are begun; what is on its way arrives.", err=True)
        raise typer.Exit(130) from None
    console.print(f"{counted(moved, 'router')} moved. Watch: gapless status", soft_wrap=True)


def _carry_out(api: str, at_once: int, most: int) -> int:
    """Some at a time, until nothing is left to move; how many went. `most`: others may move routers meanwhile."""
    moved = 0
    while moved < most:
        begun = put(api, "rebalance", {"rebalance": {"most": min(at_once, most - moved)}})["rebalance"]
        if not begun:
            break
        _wait(api, {each["router_id"]: each["to_host"] for each in begun})
        moved += len(begun)
    return moved


def _wait(api: str, on_their_way: dict[str, str]) -> None:
    """Until all are active where they were going, or it takes too long."""
    end = time.monotonic() + ARRIVE_S
    while time.monotonic() < end:
        routers = {each["router_id"]: each for each in get(api, "routers")["routers"]}
        late = [each for each, host in on_their_way.items() if each in routers and not _is_at(routers[each], host)]
        if not late:
            return
        time.sleep(LOOK_S)


def _is_at(router: dict[str, Any], host: str) -> bool:
    return bool(router["host"] == host and router["state"] == "active")


def _ways(shifts: list[dict[str, Any]]) -> Counter[tuple[str, str, bool]]:
    return Counter((each["from_host"], each["to_host"], each["is_ready"]) for each in shifts)
