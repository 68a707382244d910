"""In which order the agent works on its routers."""

from gapless.agent.jobs import Job, Remove, Why
from gapless.agent.queues import IN_A_ROW, Queues
from gapless.model.router import RouterId

A, B, C, D = (RouterId(name) for name in "abcd")


class Desk:
    """Queues, and a worker that notes what it is given; `busy`: what cannot start; `idle`: what needs nothing."""

    def __init__(self) -> None:
        self.queues = Queues()
        self.busy: set[RouterId] = set()
        self.idle: set[RouterId] = set()
        self.begun: list[str] = []

    def start(self, router_id: RouterId, why: Why) -> Job | None:
        if router_id in self.idle:
            return None
        self.begun.append(f"{why} {router_id}")
        return Remove(router_ids=(router_id,))

    def may(self, router_id: RouterId, _: Why) -> bool:
        return router_id not in self.busy

    def work_off(self) -> list[str]:
        """All that may be begun now, without removals."""
        while self.queues.next_in_turn(self.start, self.may) is not None:
            pass
        begun, self.begun = self.begun, []
        return begun


def test_drift_and_plans_take_turns_and_what_is_tried_again_comes_last() -> None:
    desk = Desk()
    desk.queues.again_at(D, 5.0, Why.PLAN)
    desk.queues.ripen(5.0)
    for router_id in (A, B):
        desk.queues.plan(router_id)
    desk.queues.drift(C)
    desk.queues.drift(A)
    assert desk.work_off() == ["drift c", "plan a", "drift a", "plan b", "plan d"]
    assert not desk.queues.is_waiting


def test_what_this_host_forwards_for_overtakes_standbys_its_retries_too() -> None:
    desk = Desk()
    for router_id in (A, B):
        desk.queues.plan(router_id)
    desk.queues.again_at(C, 5.0, Why.PLAN, forwards=True)
    desk.queues.again_at(D, 5.0, Why.PLAN)
    desk.queues.ripen(5.0)
    desk.queues.drift(D)
    desk.queues.plan(B, forwards=True)
    assert desk.work_off() == ["plan c", "plan b", "drift d", "plan a", "plan d"]


def test_what_this_host_forwards_for_no_more_waits_with_the_standbys() -> None:
    desk = Desk()
    desk.queues.plan(A, forwards=True)
    desk.queues.plan(B)
    desk.queues.plan(A)
    desk.queues.plan(C, forwards=True)
    desk.queues.plan(D, forwards=True)
    desk.queues.unwant(D)
    assert desk.work_off() == ["plan c", "plan b", "plan a"]


def test_repairs_of_what_forwards_here_overtake_those_of_standbys_and_their_building() -> None:
    desk = Desk()
    desk.queues.drift(A)
    desk.queues.plan(B)
    desk.queues.drift_at(C, 5.0, forwards=True)
    desk.queues.again_at(D, 5.0, Why.DRIFT, forwards=True, is_urgent=True)
    desk.queues.ripen(5.0)
    assert desk.work_off() == ["drift d", "drift c", "drift a", "plan b"]


def test_a_repair_that_failed_goes_before_those_that_were_not_tried_until_it_is_given_up_and_a_build_does_not() -> None:
    desk = Desk()
    for router_id in (A, B):
        desk.queues.drift(router_id, forwards=True)
    desk.queues.again_at(C, 5.0, Why.PLAN, forwards=True)
    desk.queues.again_at(D, 5.0, Why.DRIFT, forwards=True, is_urgent=True)
    given_up = RouterId("given up")
    desk.queues.again_at(given_up, 5.0, Why.DRIFT, forwards=True)
    desk.queues.ripen(5.0)
    assert desk.queues.next_repair(desk.start, desk.may) is not None
    assert desk.work_off() == ["drift d", "drift a", "plan c", "drift b", "drift given up"]


def test_a_storm_of_repairs_of_what_forwards_here_starves_no_standby() -> None:
    desk = Desk()
    for number in range(2 * IN_A_ROW + 1):
        desk.queues.drift(RouterId(f"active{number}"), forwards=True)
    desk.queues.plan(A)
    desk.queues.drift(B)
    desk.queues.drift(C)
    begun = desk.work_off()
    assert [at for at, each in enumerate(begun) if "active" not in each] == [IN_A_ROW, 2 * IN_A_ROW + 1, len(begun) - 1]
    assert [each for each in begun if "active" not in each] == ["drift b", "plan a", "drift c"]


def test_what_becomes_active_while_it_waits_goes_with_the_active_ones_and_back() -> None:
    desk = Desk()
    desk.queues.drift(A)
    desk.queues.drift(B)
    desk.queues.again_at(C, 1.0, Why.PLAN)
    desk.queues.ripen(1.0)
    desk.queues.drift_at(D, 1.0)
    for router_id in (B, C, D):
        desk.queues.role(router_id, forwards=True)
    desk.queues.ripen(1.0)
    desk.queues.drift(RouterId("e"), forwards=True)
    desk.queues.role(RouterId("e"), forwards=False)
    assert desk.work_off() == ["drift b", "plan c", "drift d", "drift a", "drift e"]


def test_what_is_at_work_keeps_its_place_and_what_needs_nothing_leaves() -> None:
    desk = Desk()
    for router_id in (A, B, C):
        desk.queues.plan(router_id)
    desk.busy.add(A)
    desk.idle.add(B)
    assert desk.work_off() == ["plan c"]
    desk.busy.clear()
    desk.idle.clear()
    assert desk.work_off() == ["plan a"]


def test_a_hint_does_not_move_a_time_and_a_failure_does() -> None:
    queues = Queues()
    assert queues.next_deadline() is None
    queues.again_at(A, 9.0, Why.DRIFT)
    queues.drift_at(A, 3.0)
    assert queues.next_deadline() == 9.0
    queues.again_at(A, 12.0, Why.DRIFT)
    queues.ripen(11.9)
    assert queues.is_timed(A)
    queues.ripen(12.0)
    assert not queues.is_timed(A)
    assert queues.is_waiting


def test_what_is_wanted_no_more_waits_for_nothing() -> None:
    desk = Desk()
    desk.queues.plan(A)
    desk.queues.drift(A)
    desk.queues.unwant(A)
    desk.queues.again_at(B, 1.0, Why.PLAN)
    desk.queues.untime(B)
    desk.queues.again_at(C, 1.0, Why.PLAN)
    desk.queues.ripen(1.0)
    desk.queues.forget(C)
    assert desk.work_off() == []
