"""How a takeover by standbys is judged: nobody but they did it, in time, and no frame was double active."""

import re
from datetime import datetime, timedelta

from chaos_lab import PATIENT_S, said_since

from gapless.lab.api import Item
from gapless.lab.experiment import Outcome
from gapless.lab.faults import Fault
from gapless.lab.findings.expect import Bounds, Gap
from gapless.lab.lab import Lab

TAKEOVER_MS = 4_000
"""A machine under load may be slow. That standbys did it, and not the controller, their logs say."""
BOUNDS = Bounds(
    gap_ms={
        Gap.TAKEOVER: TAKEOVER_MS,
        Gap.DRAIN: TAKEOVER_MS,
        Gap.LASTS: 60_000,
        Gap.REPAIR: 60_000,
        Gap.SWITCHOVER: 60_000,
    }
)
HOLD_S = 4.0
"""Of faults that heal: they are over before the controller would have called anybody dead."""
TOOK_OVER = re.compile(r"took over (\d+) routers? of (\S+)")
BY_ITS_SUCCESSOR = ("granted", "missed", "silent", "decided", "buried", "opened", "announced")
"""Steps of a takeover, in their order, by the clock of the host that took over."""
ONCE_OPEN = ("forwarded", "bound", "confirmed")
"""Steps that have no order among themselves: all routers here are probed, and so forward."""
FENCED, HOLDS = "this host is fenced: its lease lapsed", "this host holds its lease"
assert max(TAKEOVER_MS / 1000, HOLD_S) < PATIENT_S * 2


def without_double_active_frames(lab: Lab, fault: Fault, outcome: Outcome) -> None:
    found = outcome.result
    assert (found.double_active_frames, found.wire.missed) == (0, 0)
    assert found.wire.frames > 0


def taken_over(lab: Lab, fault: Fault, outcome: Outcome) -> None:
    """Nobody but the standbys did it, and before anything was healed."""
    without_double_active_frames(lab, fault, outcome)
    found = outcome.result
    assert len(outcome.moves) == found.moved == found.affected > 0
    struck = datetime.fromisoformat(found.at)
    by_then = struck + timedelta(seconds=HOLD_S)
    logged = [
        (at, int(match[1]))
        for host in lab.hosts.values()
        for at, line in said_since(host.sentinel, struck)
        if (match := TOOK_OVER.search(line)) and match[2] in fault.names
    ]
    assert sum(routers for _, routers in logged) == found.affected
    assert all(at < by_then for at, _ in logged)
    kinds = set()
    for move in outcome.moves:
        assert (move["from_host"] in fault.names, move["outcome"]) == (True, "confirmed")
        kinds.add(move["kind"])
        if move["kind"] == "takeover":
            whole_and_in_order(move, by_then)
    # Of two standbys, one may be heard before the other: then the controller only sees that the host is over.
    assert {"takeover"} <= kinds <= {"takeover", "restart"}


def whole_and_in_order(move: Item, by_then: datetime) -> None:
    """The record of a takeover."""
    steps = {step["step"]: datetime.fromisoformat(step["at"]) for step in move["timeline"]}
    assert steps.keys() >= {*BY_ITS_SUCCESSOR, *ONCE_OPEN}, move
    times = [steps[step] for step in BY_ITS_SUCCESSOR]
    assert times == sorted(times), move
    assert steps["granted"] < steps["missed"], move
    assert steps["opened"] <= min(steps[step] for step in ONCE_OPEN), move
    assert steps["opened"] < by_then
