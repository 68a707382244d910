"""The guard has one owner and outlives each beat: no flush, no death and no orderly stop opens a guarded tap."""

import os
import struct
import time

import pytest
from guard_yard import Yard, guard, hold, nft, until, yard
from kernel_fixtures import ip

from gapless.errors import Unavailable
from gapless.kernel.netlink import ACK, REQUEST
from gapless.kernel.transactions import GENERAL, SUBSYSTEM
from gapless.sentinel.beat.guard import TABLE, Guard
from gapless.sentinel.keeper import GuardKeeper

__all__ = ["guard", "yard"]

pytestmark = pytest.mark.isolated

QUESTION = struct.pack("=IHHII", 20, SUBSYSTEM | 16, REQUEST | ACK, 2, 0) + GENERAL.pack(0, 0, 0)
"""NFT_MSG_GETGEN (linux/netfilter/nf_tables.h), with the number that a new maker of the guard begins with."""


def test_an_operators_flush_leaves_the_guard_alone(yard: Yard, guard: Guard) -> None:
    assert guard.is_owned
    hold(guard)
    nft("add table ip theirs")
    assert nft("flush ruleset").returncode == 0
    assert nft(f"delete table bridge {TABLE}").returncode != 0
    assert nft(f"add element bridge {TABLE} active {{ tap0 }}").returncode != 0
    guard.check()
    assert yard.is_mute()
    guard.activate(["tap0"])  # the ruleset has changed since, the guard has not
    assert not yard.is_mute()


def test_a_flush_between_two_beats_leaves_the_guard_alone(yard: Yard) -> None:
    """The sentinel keeps the socket that owns the guard; each beat has a duplicate of it."""
    keeper = GuardKeeper()
    with Guard(os.dup(keeper.descriptor())) as first:
        first.install()
        hold(first)
        first.activate(["tap0"])
        assert not yard.is_mute()
        first.extend(0.0)
    nft("add table ip theirs")
    assert nft("flush ruleset").returncode == 0
    assert nft(f"delete table bridge {TABLE}").returncode != 0
    assert yard.is_mute()
    with Guard() as stranger, pytest.raises(Unavailable, match="make the guard"):
        stranger.install()
    with Guard(os.dup(keeper.descriptor())) as second:
        second.install()
        hold(second)
        assert yard.is_mute()
        second.activate(["tap0"])
        assert not yard.is_mute()
    keeper.shut()


def test_answers_to_a_beat_that_died_are_not_the_next_ones(yard: Yard) -> None:
    keeper = GuardKeeper()
    with Guard(os.dup(keeper.descriptor())) as first:
        first.install()
        first._transactions._send(QUESTION)
    with Guard(os.dup(keeper.descriptor())) as second:
        second.install()
        second.check()
        assert yard.is_mute()
    keeper.shut()


def test_after_an_orderly_stop_guarded_taps_are_mute_whatever_is_flushed(yard: Yard) -> None:
    keeper = GuardKeeper()
    with Guard(os.dup(keeper.descriptor())) as guard:
        guard.install()
        hold(guard)
        guard.activate(["tap0"])
        assert not yard.is_mute()
    keeper.shut()
    assert nft("flush ruleset").returncode == 0
    assert nft(f"list table bridge {TABLE}").returncode != 0
    until_other = yard.vm.say()
    never = yard.router.say()
    later = yard.vm.say()
    heard: list[bytes] = []

    def is_past() -> bool:
        heard.extend(yard.outside.heard())
        return later in heard

    until(is_past, "unguarded ports go on")
    assert until_other in heard
    assert never not in heard
    ip("link set tap0 up")  # As the next agent does: and nothing else held it back.

    def is_heard() -> bool:
        words = yard.router.say()
        time.sleep(0.01)
        return words in yard.outside.heard()

    until(is_heard, "the tap is as it was")


def test_there_is_one_guard_a_host(yard: Yard, guard: Guard) -> None:
    with Guard() as second, pytest.raises(Unavailable, match="make the guard"):
        second.install()
    guard.check()
