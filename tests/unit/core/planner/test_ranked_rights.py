"""Of several standbys one loses its right or comes last, and the others keep theirs and move up; or all lose them."""

from ranked_rig import R1, binds, four, rig_of, stored, three
from standby_rig import tenure

from gapless.core.effects import AskArbiters, StoreSuccession
from gapless.core.events import HostAdminChanged, RouterDeleted
from gapless.model.host import HostName
from gapless.model.plan import Epoch, MoveKind, Successor
from gapless.model.router import FailoverMode


def test_while_the_first_is_replaced_the_second_keeps_its_right_and_waits_for_it() -> None:
    rig = four()
    rig.answers = False
    rig.set_admin_up("h2", admin_up=False)
    assert rig.role("h2", "r1") == "built"
    assert rig.role("h3", "r1") == "may succeed h1@1 and h2@1", "h2 has not acknowledged yet"
    rig.guard("h2", version=1)
    assert rig.unanswered == [], "an answer to an older plan proves nothing"
    rig.guard("h2")
    (erased,) = rig.unanswered
    assert isinstance(erased, StoreSuccession)
    assert erased.successors == (Successor(tenure=tenure("h3"), epoch=Epoch(3)),)
    assert rig.role("h3", "r1") == "may succeed h1@1 and h2@1", "it is not stored yet"
    rig.answer(erased)
    assert rig.role("h3", "r1") == "may succeed h1@1"
    (given,) = rig.unanswered
    assert isinstance(given, StoreSuccession)
    assert [(each.tenure, each.epoch) for each in given.successors] == [(tenure("h3"), 3), (tenure("h4"), 4)]
    rig.answer(given)
    assert rig.role("h4", "r1") == "may succeed h1@1 and h3@1", "who comes last waits for all"


def test_a_first_that_uses_its_right_while_that_is_taken_leaves_the_second_as_it_is() -> None:
    rig = four()
    rig.set_admin_up("h2", admin_up=False)
    rig.take_over("h2", "r1", tenure("h1"))
    assert binds(rig) == [("h2", MoveKind.TAKEOVER, 2), ("h3", MoveKind.DRAIN, 3)], "h2 is out of service"
    assert rig.role("h3", "r1") == "may succeed h2@1"


def test_the_second_may_take_over_while_the_first_s_right_is_taken() -> None:
    rig = four()
    rig.set_admin_up("h2", admin_up=False)
    rig.take_over("h3", "r1", tenure("h2"))
    assert binds(rig) == [("h3", MoveKind.TAKEOVER, 3)]
    assert rig.role("h3", "r1") == "active at 1"


def test_one_that_does_not_suit_goes_even_if_nobody_can_replace_it_as_long_as_another_suits() -> None:
    rig = three()
    rig.set_admin_up("h2", admin_up=False)
    rig.guard("h2")
    assert rig.standbys_of("r1") == [("h3", "ready")]
    assert rig.role("h3", "r1") == "may succeed h1@1"
    assert "no other standby: h2 is taken out of service" in rig.reason("r1")


def test_the_last_one_that_does_not_suit_stays_until_there_is_another() -> None:
    rig = three()
    rig.handle(HostAdminChanged(id="drain", host=HostName("h3"), admin_up=False))
    rig.guard("h3")
    rig.handle(HostAdminChanged(id="drain", host=HostName("h2"), admin_up=False))
    rig.guard("h2")
    assert [host for host, _ in rig.standbys_of("r1")] == ["h2"]
    assert "its standby h2 is taken out of service, and there is no other yet" in rig.reason("r1")


def test_a_standby_that_restarted_comes_last() -> None:
    rig = three()
    rig.restart_host("h2")
    rig.settle("h2", "h3")
    assert rig.standbys_of("r1") == [("h3", "ready"), ("h2", "ready")]
    assert rig.role("h3", "r1") == "may succeed h1@1"
    assert rig.role("h2", "r1") == "may succeed h1@1 and h3@1"
    assert stored(rig) == [(tenure("h3"), 3), (tenure("h2", 2), 4)]


def test_a_dead_first_keeps_its_right_until_the_arbiters_bury_it() -> None:
    rig = rig_of("h1", "h2", "h3", "h4", "h5")
    rig.pass_time(160, heard=("h1", "h3", "h4", "h5"))
    assert {each.tenure for each in rig.all_said(AskArbiters)} == {tenure("h2")}
    assert rig.role("h3", "r1") == "may succeed h1@1 and h2@1"
    rig.bury("h1", "h3", "h4", subject=tenure("h2"))
    assert rig.standbys_of("r1")[0][0] == "h3"
    assert rig.role("h3", "r1") == "may succeed h1@1"


def test_a_router_that_need_not_be_guarded_loses_all_rights_first() -> None:
    rig = three()
    rig.set_mode("r1", FailoverMode.RESCHEDULE)
    rig.guard("h2")
    assert rig.role("h1", "r1") == "active at 1", "h3 may still succeed"
    rig.guard("h3")
    assert [rig.role(host, "r1") for host in ("h1", "h2", "h3")] == ["runs", "nothing", "nothing"]


def test_a_deleted_router_is_in_nobody_s_plan() -> None:
    rig = three()
    rig.store.delete_router(R1)
    rig.handle(RouterDeleted(id="gone", router_id=R1))
    assert [rig.plan(host) for host in ("h1", "h2", "h3")] == [{}, {}, {}]
