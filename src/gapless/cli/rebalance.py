"""`gapless rebalance`: even out how many routers are active on each host.

The rule: a router has moved once it is active where it was going. That it was asked to go, or has left, counts nothing.
"""

import math
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from gapless.cli.application import application
from gapless.cli.routers import present, printable, short_ids, shown
from gapless.cli.talk import DEFAULT_API, Api, AsJson, console, get, get_patiently, print_json, put
from gapless.observe.words import counted

app = application()

LOOK_S = 0.5
ARRIVE_S = 90.0
"""How long a router may be on its way before others are begun without it."""
LATE_NAMED = 20

Shift = dict[str, Any]
"""A router, from where it goes and to where, as the API says it."""


@dataclass(slots=True)
class Course:
    """What became of the routers that were to move."""

    found: list[Shift]
    begun: dict[str, Shift] = field(default_factory=dict)
    """By id."""
    late: dict[str, str] = field(default_factory=dict)
    """Those of the begun that are not active where they were going, and why."""
    is_cut_short: bool = False
    """More were to move, and were not begun: the time was over, or nothing arrived any more."""

    @property
    def arrived(self) -> list[Shift]:
        """Those that are active where they were going."""
        return [shift for router_id, shift in self.begun.items() if router_id not in self.late]

    @property
    def is_whole(self) -> bool:
        """All have moved that had to."""
        return not (self.late or self.is_cut_short)

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        late = [self.begun[router_id] | {"reason": why} for router_id, why in self.late.items()]
        return {"rebalance": {"to_move": self.found, "arrived": self.arrived, "not_arrived": late}}


@app.command()
def rebalance(
    at_once: Annotated[int, typer.Option(min=1, max=1000, help="Routers that may be on their way at a time.")] = 4,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show only what would move.")] = False,
    timeout: Annotated[
        float | None,
        typer.Option(min=0, metavar="SECONDS", help="Begin others for so long at most, and then say what has moved."),
    ] = None,
    api: Api = DEFAULT_API,
    json: AsJson = False,
) -> None:
    """Even out how many routers are active on each host, after a drain or a host's return, for instance.

    Only routers of failover mode standby move. Where the other host is not their standby yet, it builds them first, and
    they have no other standby meanwhile; to move costs a few milliseconds without traffic. Ctrl-C begins no more of
    them; what is on its way arrives.

    A router has moved once it is active on its new host. One that is not within 90 s is named at the end, with what it
    waits for, and others are begun; where none of those that were begun together arrives, no more are.

    Exit status: 0 once hosts are even (or with --dry-run), 1 if a router did not arrive or the time is over before.

    Examples:

        gapless rebalance --dry-run

        gapless rebalance --at-once 16

        gapless rebalance --timeout 300 --json | jq '.rebalance.not_arrived'
    """
    course = Course(get(api, "rebalance")["rebalance"])
    if not json:
        _show(course.found)
    if course.found and not dry_run:
        try:
            _carry_out(course, api, at_once, timeout, is_told=not json)
        except KeyboardInterrupt:
            typer.echo(f"\n{_moved(course)} so far. No more are begun; what is on its way arrives.", err=True)
            raise typer.Exit(130) from None
        if not json:
            console.print(f"{_moved(course)}. Watch: gapless status", soft_wrap=True)
    elif course.found and not json:
        console.print("Nothing was done.")
    if json:
        print_json(course.as_json())
    if not course.is_whole:
        _tell_late(course, api)
        raise typer.Exit(1)


def _carry_out(course: Course, api: str, at_once: int, timeout: float | None, *, is_told: bool) -> None:
    """Some at a time, until nothing is left to move, or the time is over, or nothing arrives any more.

    No more are begun than were to move at first: others may move routers meanwhile.
    """
    end_s = math.inf if timeout is None else time.monotonic() + timeout
    left = len(course.found)
    while left > 0 and not course.is_cut_short:
        if time.monotonic() >= end_s:
            course.is_cut_short = True
            break
        begun = put(api, "rebalance", {"rebalance": {"most": min(at_once, left)}})["rebalance"]
        if not begun:
            break
        left -= len(begun)
        batch = {each["router_id"]: each for each in begun}
        course.begun |= batch
        course.late |= dict.fromkeys(batch, "its arrival was not waited for")  # where that is broken off
        late = _wait(api, batch, min(end_s, time.monotonic() + ARRIVE_S))
        course.late = {each: why for each, why in course.late.items() if each not in batch} | late
        course.is_cut_short = left > 0 and late.keys() == batch.keys()
        if is_told and left > 0:
            console.print(f"{len(course.arrived)} of {counted(len(course.found), 'router')} moved", soft_wrap=True)
    if course.late:  # Some may have come while others were waited for.
        course.late = _late(api, {each: course.begun[each] for each in course.late})


def _wait(api: str, batch: dict[str, Shift], until_s: float) -> dict[str, str]:
    """Until all are active where they were going, or it takes too long; those that are not, and why."""
    while (late := _late(api, batch)) and time.monotonic() < until_s:
        time.sleep(LOOK_S)
    return late


def _late(api: str, shifts: dict[str, Shift]) -> dict[str, str]:
    """Which of these are not active where they were going, and why."""
    routers = {each["router_id"]: each for each in get_patiently(api, "routers")["routers"]}
    found = {each: _why_late(routers.get(each), shift["to_host"]) for each, shift in shifts.items()}
    return {each: why for each, why in found.items() if why}


def _why_late(router: dict[str, Any] | None, host: str) -> str:
    """Why a router has not arrived there; "" if it has."""
    if router is None:
        return "it was deleted meanwhile"
    if router["host"] == host and router["state"] == "active":
        return ""
    said = f"it is {router['state']} on {router['host'] or 'no host'}"
    return f"{said}: {router['reason']}" if router["reason"] else said


def _show(found: list[Shift]) -> None:
    if not found:
        console.print("Nothing to move: hosts are as even as they can be.")
    for (source, target, is_ready), number in sorted(_ways(found).items()):
        first = "" if is_ready else ", to be built first"
        console.print(f"{source} to {target}: {counted(number, 'router')}{first}", soft_wrap=True)


def _tell_late(course: Course, api: str) -> None:
    if course.late:
        names, short = present(api), short_ids(course.late)
        for router_id, why in list(course.late.items())[:LATE_NAMED]:
            name, to_host = shown(names.get(router_id, ""), short[router_id]), course.begun[router_id]["to_host"]
            typer.echo(f"{name} did not arrive at {to_host}: {printable(why)}", err=True)
        if (more := len(course.late) - LATE_NAMED) > 0:
            typer.echo(f"{counted(more, 'other router')} did not arrive: --json names all", err=True)
    if course.is_cut_short:
        typer.echo("No more were begun; `gapless rebalance` goes on from here.", err=True)


def _moved(course: Course) -> str:
    return f"{counted(len(course.arrived), 'router')} moved"


def _ways(shifts: list[Shift]) -> Counter[tuple[str, str, bool]]:
    return Counter((each["from_host"], each["to_host"], each["is_ready"]) for each in shifts)
