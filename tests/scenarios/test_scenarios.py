"""The stories that every maintainer should have read, as golden transcripts beside this file.

A change of behaviour shows as a changed transcript. Look at the difference; if it is what you meant, write them anew:

    GAPLESS_WRITE_TRANSCRIPTS=1 pytest tests/scenarios
"""

import os
from dataclasses import replace
from pathlib import Path

from stage import Stage

from gapless.core.events import BrakeReleased, HostAdminChanged
from gapless.model.host import HostName
from gapless.model.router import RouterId

HERE = Path(__file__).parent


def compare(name: str, stage: Stage) -> None:
    path = HERE / f"{name}.txt"
    if os.environ.get("GAPLESS_WRITE_TRANSCRIPTS"):
        path.write_text(stage.transcript())
    assert stage.transcript() == path.read_text(), f"{path} tells another story"


def test_a_host_dies() -> None:
    """150 s after its last report, its routers are bound to the others, evenly, and built there."""
    stage = Stage(hosts=3, routers=6)
    stage.note("h2 loses power")
    stage.host("h2").power_off()
    stage.run_until(300)
    assert stage.running() == {"h1": ["r1", "r2", "r4"], "h2": [], "h3": ["r3", "r5", "r6"]}
    compare("host_dies", stage)


def test_the_host_returns_after_its_routers_moved() -> None:
    """Nothing moves back; it runs nothing, because its plan from disk is not confirmed and the new one is empty."""
    stage = Stage(hosts=2, routers=2)
    stage.note("h2 loses power")
    stage.host("h2").power_off()
    stage.run_until(300)
    stage.note("h2 comes back")
    stage.host("h2").power_on()
    stage.run_until(400)
    assert stage.running() == {"h1": ["r1", "r2"], "h2": []}
    compare("host_returns_late", stage)


def test_the_host_returns_before_anything_was_decided() -> None:
    """It keeps its routers and builds them again."""
    stage = Stage(hosts=2, routers=2)
    stage.note("h2 loses power")
    stage.host("h2").power_off()
    stage.run_until(150)
    stage.note("h2 comes back")
    stage.host("h2").power_on()
    stage.run_until(400)
    assert stage.running() == {"h1": ["r1"], "h2": ["r2"]}
    compare("host_returns_early", stage)


def test_the_controller_was_away() -> None:
    """However long it was away, every host has its full time to be heard; a host that is really dead is found later."""
    stage = Stage(hosts=3, routers=3)
    stage.controller_away_s = 600
    assert stage.controller is not None
    stage.controller.crash()
    stage.note("h3 loses power")
    stage.host("h3").power_off()
    stage.run_until(900)
    assert stage.running() == {"h1": ["r1", "r3"], "h2": ["r2"], "h3": []}
    compare("controller_away", stage)


def test_the_controller_was_stopped() -> None:
    """It notices by itself that it was deaf, and holds that against no host."""
    stage = Stage(hosts=2, routers=2)
    assert stage.controller is not None
    stage.controller.stop()
    stage.run_until(460)
    stage.controller.go_on(timer_first=True)
    stage.run_until(600)
    assert stage.running() == {"h1": ["r1"], "h2": ["r2"]}
    compare("controller_stopped", stage)


def test_a_silent_host_is_back_after_the_controller_was_stopped() -> None:
    """What waited for a host goes to it as soon as it is heard, though its silence began before the pause."""
    stage = Stage(hosts=3, routers=3, capacity=3)
    stage.note("h1 loses power")
    stage.host("h1").power_off()
    stage.run_until(100)
    stage.note("the management links of h2 and h3 are cut")
    stage.host("h2").cut_link()
    stage.host("h3").cut_link()
    stage.tell(HostAdminChanged(id="operator-1", host=HostName("h3"), admin_up=False))
    stage.run_until(225)
    assert stage.controller is not None
    stage.controller.stop()
    stage.host("h2").mend_link()
    stage.run_until(230)
    stage.controller.go_on(timer_first=True)
    stage.run_until(320)
    compare("silent_host_back_after_pause", stage)


def test_most_hosts_look_dead() -> None:
    """The brake holds until an operator, who knows better, releases it."""
    stage = Stage(hosts=3, routers=3)
    stage.note("h2 and h3 lose power")
    stage.host("h2").power_off()
    stage.host("h3").power_off()
    stage.run_until(400)
    assert stage.running() == {"h1": ["r1"], "h2": [], "h3": []}
    stage.tell(BrakeReleased(id="operator-1", hosts=(HostName("h2"), HostName("h3"))))
    stage.run_until(420)
    assert stage.running() == {"h1": ["r1", "r2", "r3"], "h2": [], "h3": []}
    compare("most_hosts_dead", stage)


def test_the_new_host_fails() -> None:
    """Back into the queue, to the next host; never bound to nobody."""
    stage = Stage(hosts=3, routers=3)
    stage.host("h2").broken.add(RouterId("r1"))
    stage.note("h1 loses power, and h2 will not be able to build r1")
    stage.host("h1").power_off()
    stage.run_until(300)
    assert stage.running() == {"h1": [], "h2": ["r2"], "h3": ["r1", "r3"]}
    compare("new_host_fails", stage)


def test_nobody_can_take_it() -> None:
    """It stays where it is, says why for each host, and moves as soon as there is one."""
    stage = Stage(hosts=2, routers=4, capacity=2)
    stage.note("h2 loses power")
    stage.host("h2").power_off()
    stage.run_until(300)
    stage.note("a third host joins")
    stage.add_host(3).power_on()
    stage.run_until(320)
    assert stage.running() == {"h1": ["r1", "r3"], "h2": [], "h3": ["r2", "r4"]}
    compare("nobody_can_take_it", stage)


def test_a_host_is_drained() -> None:
    """Four at a time, each built on the new host only when nothing of it is left on the old one."""
    stage = Stage(hosts=2, routers=10)
    name = HostName("h1")
    stage.store.hosts[name] = replace(stage.store.hosts[name], admin_up=False)
    stage.tell(HostAdminChanged(id="operator-1", host=name, admin_up=False))
    stage.run_until(80)
    assert stage.running() == {"h1": [], "h2": sorted(f"r{number}" for number in range(1, 11))}
    stage.store.hosts[name] = replace(stage.store.hosts[name], admin_up=True)
    stage.tell(HostAdminChanged(id="operator-2", host=name, admin_up=True))
    stage.run_until(120)
    assert stage.running()["h1"] == []
    compare("drain", stage)


def test_a_drain_is_taken_back() -> None:
    """What was leaving arrives, what had not begun to leave stays, and nothing moves back."""
    stage = Stage(hosts=2, routers=10)
    name = HostName("h1")
    stage.store.hosts[name] = replace(stage.store.hosts[name], admin_up=False)
    stage.tell(HostAdminChanged(id="operator-1", host=name, admin_up=False))
    stage.run_until(60.15)
    stage.store.hosts[name] = replace(stage.store.hosts[name], admin_up=True)
    stage.tell(HostAdminChanged(id="operator-2", host=name, admin_up=True))
    stage.run_until(80)
    assert stage.running() == {"h1": ["r9"], "h2": sorted(f"r{number}" for number in (1, 2, 3, 4, 5, 6, 7, 8, 10))}
    compare("drain_taken_back", stage)


def test_a_management_link_is_cut() -> None:
    """The price of the classic way, which has no lease: the host is alive, and for a while two hosts run one router."""
    stage = Stage(hosts=2, routers=2)
    stage.note("the management link of h2 is cut; h2 goes on forwarding")
    stage.host("h2").cut_link()
    stage.run_until(300)
    assert stage.running() == {"h1": ["r1", "r2"], "h2": ["r2"]}
    stage.note("the link is mended")
    stage.host("h2").mend_link()
    stage.run_until(320)
    assert stage.running() == {"h1": ["r1", "r2"], "h2": []}
    compare("management_link_cut", stage)


def test_the_database_fails_in_the_middle() -> None:
    """What was bound stays bound; the same is decided again, a little later each time, until it can be stored."""
    stage = Stage(hosts=2, routers=2)
    stage.note("h2 loses power, and the database cannot be written")
    stage.host("h2").power_off()
    stage.store.is_failing = True
    stage.run_until(230)
    assert stage.store.bindings[RouterId("r2")].host == "h2"
    stage.note("the database can be written again")
    stage.store.is_failing = False
    stage.run_until(300)
    assert stage.running() == {"h1": ["r1", "r2"], "h2": []}
    compare("database_fails", stage)


def test_a_host_loses_its_way_out() -> None:
    """After 5 s its routers leave for a host that says that it has its own; nothing moves once all have lost theirs."""
    stage = Stage(hosts=3, routers=3, networks=("external",))
    stage.host("h2").says_ways = False
    stage.host("h2").restart_sentinel()
    stage.note("h2 is of an older release")
    stage.run_until(80)
    stage.note("h1 loses its way out")
    stage.host("h1").lose_way_out()
    stage.run_until(100)
    assert stage.running() == {"h1": [], "h2": ["r2"], "h3": ["r1", "r3"]}
    stage.note("h3 loses its way out as well")
    stage.host("h3").lose_way_out()
    stage.run_until(150)
    stage.note("h1 and h3 have theirs again, one after the other")
    stage.host("h1").mend_way_out()
    stage.run_until(152)
    stage.host("h3").mend_way_out()
    stage.run_until(200)
    assert stage.running() == {"h1": [], "h2": ["r2"], "h3": ["r1", "r3"]}
    compare("way_out_lost", stage)
