"""What the worklist makes of routers whose addresses others use, told as transcripts."""

from kernel_in_memory import with_gateway
from test_worklist_gateways import DEAF, find, in_role
from worklist_rig import Bench

from gapless.model.plan import Role
from gapless.model.router import RouterId

USED = "203.0.113.20 is also used by 52:54:00:00:00:01: what is sent to it may arrive there, and not at this router"


def take(bench: Bench, **found: str) -> bool:
    return bench.worklist.take_conflicts({RouterId(router_id): why for router_id, why in found.items()}, bench.now)


def test_it_is_degraded_until_nobody_else_has_its_address() -> None:
    bench = Bench()
    bench.plan(with_gateway("r"), with_gateway("other"))
    bench.work_off()
    assert bench.ailments() == ["", ""]
    assert take(bench, r=USED)
    assert bench.ailments() == [USED]
    assert not take(bench, r=USED)
    assert take(bench)
    assert bench.ailments() == [""]


def test_one_that_is_built_meanwhile_says_it_when_it_is() -> None:
    bench = Bench()
    bench.plan(with_gateway("r"))
    assert take(bench, r=USED)
    assert bench.ailments() == []
    bench.work_off()
    assert bench.ailments() == [USED]


def test_a_conflict_is_told_before_a_silent_gateway_which_may_follow_from_it() -> None:
    bench = Bench()
    bench.plan(with_gateway("r"))
    bench.work_off()
    find(bench, "r", DEAF)
    take(bench, r=USED)
    assert bench.ailments() == [USED]
    find(bench, "r", "")
    find(bench, "r", DEAF)
    assert bench.ailments() == [], "nothing else is said of it"
    take(bench)
    assert bench.ailments() == [DEAF]


def test_only_who_forwards_is_degraded_by_it() -> None:
    bench = Bench()
    bench.plan(in_role("r", Role.ACTIVE))
    bench.work_off()
    take(bench, r=USED)
    assert bench.ailments() == [USED]
    bench.plan(in_role("r", Role.STANDBY, epoch=2))
    assert bench.ailments() == [""]


def test_what_is_heard_of_a_router_that_is_gone_is_told_to_nobody() -> None:
    bench = Bench()
    assert not take(bench, gone=USED)
    assert bench.ailments() == []
