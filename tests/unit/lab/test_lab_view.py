"""The live view as text: what it shows of events, on a terminal and in a log."""

import io
import sys
import threading

import pytest

from gapless.lab.findings import events
from gapless.lab.findings.events import Phase
from gapless.lab.findings.view import View
from gapless.observe.console import console

ROUTERS = {"id-1": "router-001", "id-2": "router-002"}


def traffic(at: float, *answered: str) -> events.TrafficSeen:
    return events.TrafficSeen(
        at=at,
        silent_ms={router: 0.0 if router in answered else 1500.0 for router in ROUTERS},
        answered=frozenset(answered),
        sent=10,
        lost=0,
        lateness_ms=0.1,
    )


def placed(at: float, **standing: str) -> events.Placed:
    return events.Placed(
        at=at,
        host_of={"id-1": "host-1", "id-2": "host-2"},
        state_of={"id-1": "active", "id-2": "active"},
        reason_of={"id-1": "", "id-2": ""},
        standing_of={name.replace("_", "-"): word for name, word in standing.items()},
    )


def a_host_dies(view: View) -> None:
    view.name_routers(ROUTERS)
    view(events.PhaseBegan(at=100.0, phase=Phase.STEADY))
    view(placed(100.0, host_1="alive", host_2="alive"))
    view(traffic(100.5, "id-1", "id-2"))
    view(events.PhaseBegan(at=101.0, phase=Phase.FAULT, detail="host-2 dies"))
    view(events.FaultStruck(at=101.1, began=101.0, name="host-power", description="host-2 dies", hosts=("host-2",)))
    view(traffic(102.5, "id-1"))
    view(placed(103.0, host_1="alive", host_2="dead"))
    view(events.RouterMoved(at=103.5, router_id="id-2", from_host="host-2", to_host="host-1"))


def drawn(view: View) -> str:
    file = io.StringIO()
    console(file=file, width=100).print(view)
    return file.getvalue()


def test_the_picture_shows_hosts_routers_and_who_is_silent() -> None:
    view = View(console(file=io.StringIO(), width=100), "demo")
    a_host_dies(view)

    picture = drawn(view)

    assert "1 of 2 routers answer" in picture
    assert [line for line in picture.splitlines() if "host-2" in line and "dead" in line]
    assert [line for line in picture.splitlines() if "router-002" in line and "silent for 1.5 s" in line]
    assert [line for line in picture.splitlines() if "router-001" in line and "answers" in line]
    assert "router-002 is on host-1 in the controller's list (was on host-2)" in picture


def test_in_a_log_each_event_is_a_line_with_its_time() -> None:
    file = io.StringIO()
    view = View(console(file=file, width=100), "demo")
    with view:
        a_host_dies(view)

    lines = file.getvalue().splitlines()

    assert [line for line in lines if "+1.5 s" in line and "1 of 2 routers answer" in line]
    assert [line for line in lines if "+2.0 s" in line and "the controller calls host-2 dead" in line]
    assert [line for line in lines if "+2.5 s" in line and "router-002 is on host-1" in line]


def test_many_routers_are_summed_up() -> None:
    view = View(console(file=io.StringIO(), width=100), "demo")
    many = {f"id-{number}": 0.0 for number in range(40)}
    view(
        events.TrafficSeen(at=1.0, silent_ms=many, answered=frozenset(list(many)[:39]), sent=0, lost=0, lateness_ms=0.0)
    )

    assert "and 28 more" in drawn(view)
    assert "27 answer" in drawn(view)


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_however_narrow_the_terminal_is_the_latest_pulses_are_drawn(width: int) -> None:
    out = console(file=io.StringIO(), width=width)
    view = View(out, "demo")
    view.name_routers(ROUTERS)
    for number in range(60):
        view(traffic(float(number), "id-1", "id-2"))
    view(traffic(61.0, "id-1"))
    with out.capture() as picture:
        out.print(view)
    (row,) = [line for line in picture.get().splitlines() if "router-002" in line]
    assert row.split()[2].endswith("▪▫")
    assert "silent for 1.5 s" in row


def test_a_text_in_brackets_is_no_mark() -> None:
    file = io.StringIO()
    view = View(console(file=file, width=100), "[/demo]")
    with view:
        view.name_routers({"id-1": "[bold]x", "id-2": "[/]"})
        view(events.PhaseBegan(at=1.0, phase=Phase.FAULT, detail="[/why]"))
        view(events.FaultStruck(at=1.1, began=1.0, name="x", description="[/fault]", hosts=("h",)))
        view(placed(2.0, **{"[/h]": "alive"}))
        view(traffic(2.5, "id-1"))
        view(placed(3.0, **{"[/h]": "dead"}))
        view(events.RouterMoved(at=3.5, router_id="id-2", from_host="[/from]", to_host="[/to]"))
        picture = drawn(view)
        view(events.PhaseBegan(at=4.0, phase=Phase.DONE, detail="[/why]"))
    for text in ("[/demo]", "[bold]x", "[/]", "[/fault]", "[/h]", "[/from]", "[/to]"):
        assert text in picture, text
    for text in ("[/fault]", "[/h]", "[/from]", "[/to]"):
        assert text in file.getvalue(), text


def test_traffic_that_comes_in_while_it_is_drawn_disturbs_no_picture() -> None:
    """On a terminal it is drawn by a thread of its own, many times a second."""
    view = View(console(file=io.StringIO(), width=100), "a lab")
    many = {f"id-{number}": 0.0 for number in range(12)}
    pulse = events.TrafficSeen(at=1.0, silent_ms=many, answered=frozenset(many), sent=0, lost=0, lateness_ms=0.0)
    view(pulse)
    is_over = threading.Event()

    def come_in() -> None:
        while not is_over.is_set():
            view(pulse)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    coming = threading.Thread(target=come_in)
    coming.start()
    try:
        for _ in range(300):
            view.__rich__()
    finally:
        is_over.set()
        coming.join()
        sys.setswitchinterval(before)
