"""Which machine may have a name."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from shell_fakes import facts_of

from gapless.controller.roster import Admission, Refusal, RefusalCode, Roster
from gapless.controller.store.hostrows import HostRecord
from gapless.model.host import MACHINE_STEP, HostFacts, HostName, Incarnation, InstanceId

AT = datetime(2026, 1, 1, tzinfo=UTC)
OTHER = InstanceId("11111111-1111-4111-8111-111111111111")
H1 = facts_of("h1")


def roster(*, heard_s: float | None = None) -> Roster:
    """h1 is stored at start number 5, the controller started at 0, and h1 was heard at `heard_s`."""
    stored = HostRecord(facts=H1, incarnation=Incarnation(5), admin_up=True, heartbeat_at=AT)
    made = Roster({H1.name: stored}, dead_after_s=150, now=0)
    if heard_s is not None:
        made.heard(H1.name, heard_s)
    return made


def refused(verdict: Admission | Refusal) -> Refusal:
    assert isinstance(verdict, Refusal)
    return verdict


def test_a_new_name_is_free() -> None:
    assert roster().consider(facts_of("h2"), Incarnation(1), 1) == Admission()


@pytest.mark.parametrize("incarnation", [5, 6])
def test_the_same_machine_may_come_back(incarnation: int) -> None:
    assert roster(heard_s=9).consider(H1, Incarnation(incarnation), 10) == Admission()


def test_an_older_start_of_it_may_not() -> None:
    refusal = refused(roster().consider(H1, Incarnation(4), 1))

    assert refusal.code is RefusalCode.STALE_INCARNATION
    assert "start number 4, but start number 5 was seen" in refusal.reason


@pytest.mark.parametrize("now", [10, 74, 75, 149])
def test_another_machine_may_not_have_the_name_of_a_host_that_is_not_dead(now: float) -> None:
    refusal = refused(roster(heard_s=0).consider(replace(H1, instance=OTHER), Incarnation(9), now))

    assert refusal.code is RefusalCode.NAME_TAKEN
    assert f"last heard {now:.0f} s ago" in refusal.reason
    assert H1.instance in refusal.reason
    assert OTHER in refusal.reason


def test_another_machine_may_have_the_name_of_a_dead_host() -> None:
    verdict = roster(heard_s=0).consider(replace(H1, instance=OTHER), Incarnation(1), 150)

    assert verdict == Admission(replaces=H1.instance)


def test_after_the_controllers_start_nobody_is_dead() -> None:
    refusal = refused(roster().consider(replace(H1, instance=OTHER), Incarnation(1), 149))

    assert "not heard since the controller's start 149 s ago" in refusal.reason


def test_after_a_pause_of_the_controller_nobody_is_dead() -> None:
    paused = roster(heard_s=0)
    paused.excuse(1000, 1000)

    assert isinstance(paused.consider(replace(H1, instance=OTHER), Incarnation(1), 1149), Refusal)
    assert isinstance(paused.consider(replace(H1, instance=OTHER), Incarnation(1), 1150), Admission)


def test_a_copied_state_directory_is_found_by_its_instance() -> None:
    refusal = refused(roster().consider(replace(H1, name=HostName("h2")), Incarnation(6), 1000))

    assert refusal.code is RefusalCode.INSTANCE_COPIED
    assert "of the host h1: its state directory is a copy" in refusal.reason


def test_a_forgotten_name_is_free() -> None:
    forgetful = roster(heard_s=0)
    forgetful.forget(H1.name)

    assert forgetful.consider(replace(H1, instance=OTHER), Incarnation(1), 1) == Admission()
    forgetful.heard(H1.name, 2)  # a last report that was on its way
    assert forgetful.consider(replace(H1, instance=OTHER), Incarnation(1), 3) == Admission()


def test_who_is_out_of_service_stays_so_when_it_comes_back() -> None:
    drained = roster()
    drained.set_admin_up(H1.name, admin_up=False)
    drained.admit(H1, Incarnation(6), 3)

    assert not drained.is_admin_up(H1.name)
    assert drained.is_admin_up(HostName("unknown"))


@pytest.mark.parametrize(
    "facts",
    [
        replace(H1, name=HostName("")),
        replace(H1, name=HostName("two words")),
        replace(H1, name=HostName("line\nbreak")),
        replace(H1, name=HostName("-dash")),
        replace(H1, name=HostName("h" * 256)),
        replace(H1, instance=InstanceId("not a uuid")),
        replace(H1, instance=InstanceId(H1.instance.upper())),
        replace(H1, capacity=-1),
        replace(H1, tracked_most=-1),
        replace(H1, capacity=2**60),
        replace(H1, availability_zone=""),
        replace(H1, physical_networks=("ok", "not ok")),
        replace(H1, data_address="fe80::1"),
        replace(H1, data_address="300.1.1.1"),
    ],
)
def test_impossible_facts_are_refused(facts: HostFacts) -> None:
    assert refused(roster().consider(facts, Incarnation(5), 1)).code is RefusalCode.MALFORMED


@pytest.mark.parametrize("incarnation", [-1, 2**53, 10**30])
def test_impossible_incarnations_are_refused(incarnation: int) -> None:
    assert refused(roster().consider(H1, Incarnation(incarnation), 1)).code is RefusalCode.MALFORMED


# Names and incarnations


def up_to(made: Roster, facts: HostFacts, incarnation: int) -> tuple[int, int]:
    """What it has to be above, and at which incarnation it counts."""
    record = made.name_record(facts, Incarnation(incarnation))
    return record.outlived, record.started


def test_another_machine_begins_above_all_that_was_heard_of_the_one_before() -> None:
    made = roster(heard_s=0)
    made.risen(H1.name, Incarnation(47))
    assert up_to(made, replace(H1, instance=OTHER), 1) == (MACHINE_STEP, MACHINE_STEP + 1)
    made.risen(H1.name, Incarnation(MACHINE_STEP + 5))
    assert up_to(made, replace(H1, instance=OTHER), 1) == (2 * MACHINE_STEP, 2 * MACHINE_STEP + 1)


def test_the_same_machine_need_not_begin_above_itself() -> None:
    made = roster()
    assert made.risen(H1.name, Incarnation(47)) is not None
    assert up_to(made, H1, 5) == (0, 5)
    made.admit(replace(H1, instance=OTHER), Incarnation(1), 200)
    made.risen(H1.name, Incarnation(MACHINE_STEP + 9))
    assert up_to(made, replace(H1, instance=OTHER), 1) == (MACHINE_STEP, MACHINE_STEP + 1)
    assert isinstance(made.consider(replace(H1, instance=OTHER), Incarnation(1), 201), Admission)


def test_a_machine_that_gets_its_name_back_is_another_one_by_then() -> None:
    made = roster()
    made.admit(replace(H1, instance=OTHER), Incarnation(1), 200)
    assert up_to(made, H1, 6)[0] == 2 * MACHINE_STEP


def test_what_a_name_stands_for_outlives_its_deletion() -> None:
    made = roster()
    made.forget(H1.name)
    assert up_to(made, replace(H1, instance=OTHER), 1) == (MACHINE_STEP, MACHINE_STEP + 1)
    assert up_to(made, H1, 6) == (0, 6), "the same machine, and it has not gone back"
    assert up_to(made, H1, 4) == (MACHINE_STEP, MACHINE_STEP + 1), "its disk was restored from a backup"
    assert made.admit(H1, Incarnation(4), 3).outlived == MACHINE_STEP


@pytest.mark.parametrize("incarnation", [0, 5, 2**53, 10**30])
def test_a_lease_that_is_no_news_or_cannot_be_changes_nothing(incarnation: int) -> None:
    made = roster()
    assert made.risen(H1.name, Incarnation(incarnation)) is None
    assert made.risen(HostName("unknown"), Incarnation(9)) is None
    assert up_to(made, H1, 5) == (0, 5)


def test_a_machine_that_was_confirmed_off_comes_back_above_what_was_confirmed() -> None:
    made = roster()
    made.bar(H1.name, Incarnation(8))
    assert made.is_off(H1.name)
    assert made.consider(H1, Incarnation(6), 1) == Admission()
    record = made.admit(H1, Incarnation(6), 1)
    assert (record.started, record.outlived, record.confirmed) == (9, 8, 8)
    assert not made.is_off(H1.name)
    assert not record.is_off
    assert made.admit(H1, Incarnation(10), 2).confirmed == 8, "what was over stays over"


def test_another_machine_may_have_the_name_of_one_that_was_confirmed_off_at_once() -> None:
    made = roster(heard_s=0)
    made.bar(H1.name, Incarnation(5))
    another = replace(H1, instance=OTHER)
    assert made.consider(another, Incarnation(1), 1) == Admission(replaces=H1.instance)
    assert made.admit(another, Incarnation(1), 1).started == MACHINE_STEP + 1


def test_the_highest_incarnation_of_a_name_that_nobody_had_is_not_known() -> None:
    assert roster().highest(HostName("h9")) is None
    assert roster().highest(H1.name) == 5
    assert not roster().is_off(HostName("h9"))
