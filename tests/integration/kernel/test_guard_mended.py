"""A guard that is not what its beat thinks is noticed and mended: others' changes to it, and answers that were lost."""

import errno
import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import Any

import pytest
from guard_yard import LONG_S, ROUTER_MAC, Yard, guard, hold, nft, until, yard
from kernel_fixtures import ip, ip_json

from gapless.core.edge.beatevents import HoldFailed, HoldLease
from gapless.errors import Conflict, Unavailable
from gapless.kernel.transactions import Refusal, Transactions, following
from gapless.sentinel.beat import clock, nftables
from gapless.sentinel.beat.guard import TABLE, Guard
from gapless.sentinel.beat.hands import Hands
from gapless.sentinel.keeper import GuardKeeper

__all__ = ["guard", "yard"]

pytestmark = pytest.mark.isolated


@pytest.fixture
def unowned(monkeypatch: pytest.MonkeyPatch) -> Iterator[Guard]:
    """A guard on a kernel that keeps no tables for one process."""
    monkeypatch.setattr(nftables, "PERSIST", 0x80)
    with Guard() as guard:
        guard.install()
        assert not guard.is_owned
        assert not guard.is_exclusive, "whatever fails later, somebody may have removed it"
        yield guard


@pytest.mark.parametrize(
    "tampering",
    [
        "flush ruleset",
        f"delete table bridge {TABLE}",
        f"flush table bridge {TABLE}",
        f"flush chain bridge {TABLE} arriving",
        f"insert rule bridge {TABLE} arriving accept",
        f"add chain bridge {TABLE} arriving {{ policy drop; }}",
        f"add element bridge {TABLE} active {{ tap1 }}",
        f"delete element bridge {TABLE} active {{ tap0 }}",
        f"flush ruleset; add table bridge {TABLE}",
    ],
)
def test_tampering_is_noticed_by_the_next_renewal_and_mended(yard: Yard, unowned: Guard, tampering: str) -> None:
    hold(unowned)
    unowned.activate(["tap0"])
    assert nft(tampering).returncode == 0
    with pytest.raises(Conflict, match="by somebody else"):
        hold(unowned)
    unowned.restore()
    unowned.check()
    assert not yard.is_mute()
    hold(unowned)
    unowned.deactivate(["tap0"])
    assert yard.is_mute()


@pytest.mark.parametrize("tampering", [f"delete table bridge {TABLE}", f"flush chain bridge {TABLE} arriving"])
def test_a_guard_that_is_altered_as_soon_as_it_is_made_is_found_out_by_the_next_renewal(
    yard: Yard, unowned: Guard, tampering: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as by a firewall that flushes twice: what is known of the guard is what was made, and not what is there."""
    commit = unowned._transactions.commit

    def commit_before_others(*asked: Any) -> list[tuple[int, bytes]]:
        told = commit(*asked)
        assert nft(tampering).returncode == 0
        return told

    with monkeypatch.context() as patched:
        patched.setattr(unowned._transactions, "commit", commit_before_others)
        unowned.restore()
    with pytest.raises(Conflict, match="by somebody else"):
        hold(unowned)
    unowned.restore()
    unowned.check()
    assert nft(f"list chain bridge {TABLE} arriving").stdout.count("drop") == 1
    assert yard.is_mute()


@pytest.mark.parametrize(
    "tampering",
    ["flush ruleset", f"flush chain bridge {TABLE} arriving", f"insert rule bridge {TABLE} arriving accept"],
)
@pytest.mark.parametrize("was_held", [True, False])
@pytest.mark.parametrize("next_until_s", [-math.inf, LONG_S])
def test_tampering_is_noticed_after_a_transaction_that_changed_nothing(
    unowned: Guard, tampering: str, next_until_s: float, *, was_held: bool
) -> None:
    """The kernel does not count the clearing of an empty set; who does would take the next generation for its own."""
    if was_held:
        hold(unowned)
    unowned.withdraw()
    unowned.extend(-math.inf)
    assert nft(tampering).returncode == 0
    with pytest.raises(Conflict, match="by somebody else"):
        unowned.extend(clock.now() + next_until_s)
    unowned.restore()
    unowned.check()


def test_what_a_beat_does_all_the_time_is_counted_and_nobody_has_to_look(
    unowned: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked(*_: object) -> int:
        raise AssertionError("it was looked at")

    monkeypatch.setattr(unowned._transactions, "generation", looked)
    monkeypatch.setattr(unowned, "check", looked)
    for _ in range(2):
        hold(unowned)
        unowned.activate(["tap0", "tap1"])
        hold(unowned)
        unowned.deactivate(["tap0", "tap1"])
    unowned.extend(-math.inf)


def test_what_the_kernel_refuses_on_a_generation_that_was_taken_for_the_guards_own_is_looked_into(
    unowned: Guard,
) -> None:
    """Whatever went wrong in counting: a set that is not there says that the guard is not what it was."""
    hold(unowned)
    assert nft("flush ruleset").returncode == 0
    unowned._generation = following(unowned._generation)
    with pytest.raises(Conflict, match="removed by somebody else"):
        hold(unowned)


@contextmanager
def beside_others(guard: Guard) -> Iterator[None]:
    """Others commit without a pause: there is always a transaction of theirs before and after the guard's own."""
    commit = guard._transactions.commit
    theirs = [nftables.new_table("theirs", None), nftables.delete_table("theirs")]
    with Transactions() as others, pytest.MonkeyPatch.context() as patched:

        def commit_between_others(*asked: Any) -> list[tuple[int, bytes]]:
            others.commit(theirs, None, "be in between")
            try:
                return commit(*asked)
            finally:
                others.commit(theirs, None, "be in between")

        patched.setattr(guard._transactions, "commit", commit_between_others)
        yield


def test_a_guard_is_put_back_with_its_lease_whatever_others_commit_meanwhile(yard: Yard, unowned: Guard) -> None:
    hold(unowned)
    unowned.activate(["tap0"])
    assert nft("flush ruleset").returncode == 0
    with beside_others(unowned):
        unowned.restore()
        unowned.check()
        assert not yard.is_mute()
    unowned.deactivate(["tap0"])
    assert yard.is_mute()


def test_that_no_lease_can_be_renewed_beside_others_is_answered_as_soon_as_the_guard_is_back(unowned: Guard) -> None:
    """With the end of the lease that came with it: a guard that stands passes nothing after that, and its beat gives up
    what others can have.
    """
    nobody: Any = SimpleNamespace(trouble=lambda *_: None, restored=lambda: None)
    hands = Hands(unowned, nobody, nobody)
    assert nft("flush ruleset").returncode == 0
    with beside_others(unowned):
        until_s = clock.now() + LONG_S
        (failed,) = hands.carry_out([HoldLease(until=until_s)])
        unowned.check()
    assert isinstance(failed, HoldFailed)
    assert "faster" in failed.reason
    assert failed.ends == until_s
    assert not hands.is_unguarded


def test_while_the_guard_cannot_be_put_back_a_tap_that_may_pass_nothing_is_set_down(
    yard: Yard, unowned: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(unowned)
    assert yard.is_mute()
    assert nft("flush ruleset").returncode == 0
    with pytest.raises(Conflict):
        hold(unowned)

    def refuse(*_: object) -> None:
        raise Refusal(errno.ENOMEM, "make the guard")

    monkeypatch.setattr(unowned._transactions, "commit", refuse)
    with pytest.raises(Unavailable, match="memory"):
        unowned.restore()
    assert not yard.is_mute(), "it is not guarded"
    keeper = GuardKeeper()
    assert keeper.shut_unguarded(lambda name: name != "tap0") == 0
    assert not yard.is_mute(), "one that may pass stays"
    assert keeper.shut_unguarded({"tap0"}.__contains__) == 1
    assert keeper.shut_unguarded({"tap0"}.__contains__) == 0
    with suppress(OSError):  # The other end of its wire is down.
        yard.router.say()
    later, heard = yard.vm.say(), list[bytes]()

    def is_past() -> bool:
        heard.extend(yard.outside.heard())
        return later in heard

    until(is_past, "unguarded ports go on")
    assert not [words for words in heard if words.startswith(ROUTER_MAC)]
    monkeypatch.undo()
    unowned.restore()
    ip("link set tap0 up")  # As the agent does.
    for name, inside in (("tap0", None), ("net0", "router")):
        until(
            lambda name=name, inside=inside: ip_json(f"link show {name}", inside=inside)[0]["operstate"] == "UP",
            f"{name} is up",
        )
    assert yard.is_mute()


def test_what_others_do_elsewhere_does_no_harm(yard: Yard, unowned: Guard) -> None:
    assert nft("add table ip theirs").returncode == 0
    hold(unowned)
    unowned.activate(["tap0"])
    assert nft("flush table ip theirs").returncode == 0
    unowned.withdraw()
    unowned.check()


def test_a_change_whose_answer_is_lost_is_undone_by_restoring(
    yard: Yard, guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(guard)

    def lose() -> list[tuple[int, int, bytes]]:
        monkeypatch.undo()
        raise Unavailable("an answer about nftables was lost: No buffer space available")

    monkeypatch.setattr(guard._transactions, "_answers", lose)
    with pytest.raises(Conflict, match="nobody knows"):
        guard.activate(["tap0"])
    assert not yard.is_mute(), "the kernel did it"
    assert guard.active == frozenset()
    guard.restore()
    assert yard.is_mute()
    guard.check()
    guard.activate(["tap0"])
    assert not yard.is_mute()


def test_a_guard_that_cannot_be_put_back_stands_where_nobody_else_can_change_it(
    yard: Yard, guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise Unavailable("Cannot allocate memory")

    hold(guard)
    monkeypatch.setattr(guard._transactions, "commit", refuse)
    with pytest.raises(Unavailable, match="memory"):
        guard.restore()
    assert (guard.is_owned, guard.is_exclusive) == (False, True)
    assert nft("flush ruleset").returncode == 0
    assert yard.is_mute()
    monkeypatch.undo()
    guard.restore()
    assert guard.is_owned


def test_one_who_changes_the_ruleset_all_the_time_is_told_of(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time that the guard looks, another generation has come by when it acts."""
    hold(guard)
    generation = guard._transactions.generation
    monkeypatch.setattr(guard._transactions, "generation", lambda: generation() - 1)
    assert nft("add table ip theirs").returncode == 0
    with pytest.raises(Unavailable, match="faster"):
        hold(guard)
    with pytest.raises(Unavailable, match="faster"):
        guard.install()
    monkeypatch.undo()
    guard.install()
    hold(guard)


def test_of_a_guard_that_may_be_gone_and_cannot_be_read_nobody_knows(
    unowned: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts as gone: whoever took it for shut would let others forward beside it."""
    hold(unowned)
    assert nft("flush ruleset").returncode == 0

    def cannot() -> int:
        raise Unavailable("Cannot allocate memory")

    monkeypatch.setattr(unowned._transactions, "generation", cannot)
    with pytest.raises(Conflict, match="nobody knows whether the guard is what it was"):
        hold(unowned)


def test_what_the_kernel_has_no_memory_for_on_a_ruleset_that_nobody_changed_leaves_the_guard_standing(
    yard: Yard, unowned: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without having read it: there may be none for that, either."""

    def cannot(*_: object) -> None:
        raise Unavailable("Cannot allocate memory")

    def refuse(*_: object) -> None:
        raise Refusal(errno.ENOMEM, "renew", is_at_generation=True)

    hold(unowned)
    monkeypatch.setattr(unowned._transactions, "commit", refuse)
    monkeypatch.setattr(unowned._transactions, "generation", cannot)
    monkeypatch.setattr(unowned, "check", cannot)
    with pytest.raises(Refusal):
        hold(unowned)
    monkeypatch.undo()
    hold(unowned)
    assert yard.is_mute()


@pytest.mark.parametrize("is_gone", [False, True])
def test_a_guard_that_may_be_gone_is_read_where_the_kernel_refused_before_it_looked(
    unowned: Guard, monkeypatch: pytest.MonkeyPatch, *, is_gone: bool
) -> None:
    hold(unowned)
    if is_gone:
        assert nft("flush ruleset").returncode == 0

    def refuse(*_: object) -> None:
        raise Refusal(errno.ENOMEM, "renew", is_at_generation=False)

    monkeypatch.setattr(unowned._transactions, "commit", refuse)
    with pytest.raises(Conflict if is_gone else Refusal):
        hold(unowned)


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.EINVAL])
def test_a_guard_of_its_own_that_is_refused_for_want_of_memory_is_not_read_at_each_try(
    guard: Guard, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    looked = list[bool]()

    def refuse(*_: object) -> None:
        raise Refusal(number, "renew")

    monkeypatch.setattr(guard._transactions, "commit", refuse)
    monkeypatch.setattr(guard, "check", lambda: looked.append(True))
    with pytest.raises(Refusal):
        hold(guard)
    assert bool(looked) is (number != errno.ENOMEM)


def test_a_withdrawal_that_is_refused_halfway_leaves_the_guard_for_what_it_is(
    unowned: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(unowned)
    unowned.activate(["tap0"])
    commit, asked = unowned._transactions.commit, list[str]()

    def refuse_the_second(messages: list[nftables.Message], generation: int, about: str) -> None:
        asked.append(about)
        if len(asked) > 1:
            raise Refusal(errno.ENOMEM, about)
        commit(messages, generation, about)

    with monkeypatch.context() as patched:
        patched.setattr(unowned._transactions, "commit", refuse_the_second)
        with pytest.raises(Refusal):
            unowned.withdraw()
    unowned.check()
    unowned.withdraw()
    unowned.check()
    assert not unowned.active
