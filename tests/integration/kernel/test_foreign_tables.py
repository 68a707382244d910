"""Somebody else's nftables tables of the names that ours have: left as they are, byte for byte, and told of."""

import subprocess
from collections.abc import Mapping
from contextlib import closing

import pytest
from guard_yard import Yard, hold, nft, yard
from kernel_fixtures import Wires, router
from test_guard_mended import unowned

from gapless.agent.kernel import steering, steeringtable
from gapless.agent.kernel.guarding import GuardWatch
from gapless.agent.reconcile import Reconciler
from gapless.errors import Conflict, Unavailable
from gapless.kernel import ownership
from gapless.kernel.netlink import Netlink
from gapless.sentinel import keeper
from gapless.sentinel.beat import guard
from gapless.sentinel.beat.guard import Guard

__all__ = ["unowned", "yard"]

pytestmark = pytest.mark.isolated

STEERING, GUARD = f"bridge {steeringtable.TABLE}", f"bridge {guard.TABLE}"
CHAIN = "chain theirs { type filter hook forward priority 0; policy accept; counter packets 7 bytes 700 drop; }"
OF_OTHER_KEYS = (
    "set asked { type ipv4_addr; }; set steered { type ifname; }; set active { type ether_addr; }; "
    "set lease { type ipv4_addr; elements = { 192.0.2.1 }; }"
)
COUNTER = "counter seen { packets 7 bytes 700 }"
STRANGERS = pytest.mark.parametrize("content", [CHAIN, OF_OTHER_KEYS, COUNTER], ids=["chain", "sets", "counter"])
NO_GATEWAY = router(gateway=None)


def make(table: str, content: str) -> str:
    """A stranger's table; returns what it looks like."""
    done = nft(f"add table {table} {{ {content}; }}")
    assert done.returncode == 0, done.stderr
    return listed(table)


def listed(table: str) -> str:
    return subprocess.run(
        ["nft", "-a", "-s", "list", "table", *table.split()], capture_output=True, text=True, check=True, timeout=10
    ).stdout


@STRANGERS
def test_a_strangers_table_of_the_name_of_steerings_stays_and_is_told_of(wires: Wires, content: str) -> None:
    before = make(STEERING, content)
    with closing(Reconciler(wires.settings)) as host:
        with pytest.raises(Unavailable, match=rf"table {STEERING} exists .* not made by Gapless.*nft delete table"):
            host.reconcile(router())
        assert host.reconcile(NO_GATEWAY).changed, "nothing of it has to be steered"
        host.remove(router().id)
        host.sweep([])
        assert listed(STEERING) == before
        nft(f"delete table {STEERING}")
        assert host.reconcile(router()).changed
        assert "about others" in listed(STEERING)


@pytest.mark.parametrize(
    "harm",
    [
        "flush table {}; delete chain {} leaving; delete set {} only_arp",
        "delete table {}; add table {}",
        "delete table {}; add table {} {{ flags dormant; }}",
    ],
    ids=["of another release", "empty", "asleep"],
)
def test_a_steering_table_of_ours_is_taken_over_whatever_became_of_it(wires: Wires, harm: str) -> None:
    with closing(Reconciler(wires.settings)) as earlier:
        earlier.reconcile(router())
    before = subprocess.run(["nft", "list", "table", *STEERING.split()], capture_output=True, check=True).stdout
    done = nft(harm.format(*[STEERING] * 3))
    assert done.returncode == 0, done.stderr
    with closing(Reconciler(wires.settings)) as host:
        assert host.reconcile(router()).what == "Steer"
        assert (
            subprocess.run(["nft", "list", "table", *STEERING.split()], capture_output=True, check=True).stdout
            == before
        )
        host.remove(router().id)
        host.sweep([])
    assert nft(f"list table {STEERING}").returncode != 0


@STRANGERS
def test_a_strangers_table_of_the_guards_name_stays_and_nothing_guarded_is_built(wires: Wires, content: str) -> None:
    before = make(GUARD, content)
    with (
        Guard() as made,
        closing(GuardWatch()) as watch,
        closing(Reconciler(wires.settings, require_guard=watch.require_for)) as host,
    ):
        with pytest.raises(Unavailable, match=rf"table {GUARD} exists .* not made by Gapless.*nft delete table"):
            made.install()
        with pytest.raises(Unavailable, match="not made yet"):
            hold(made)
        with pytest.raises(Unavailable, match="does not stand"):
            host.reconcile(router(), guarded=True)
        assert listed(GUARD) == before
        assert keeper.muted_frames() == 0, "what a stranger counts is no figure of the guard"
        nft(f"delete table {GUARD}")
        made.install()
        assert host.reconcile(router(), guarded=True).changed


def test_a_stranger_who_took_the_place_of_a_guard_gives_it_back(yard: Yard, unowned: Guard) -> None:
    """While it stood the name was the guard's: frames pass that must not, and nobody could succeed this host."""
    nft(f"delete table {GUARD}")
    make(GUARD, CHAIN)
    with pytest.raises(Conflict):
        hold(unowned)
    unowned.restore()
    unowned.check()
    assert yard.is_mute()


def test_a_guard_of_an_earlier_process_is_made_anew_whatever_became_of_it(yard: Yard, unowned: Guard) -> None:
    nft(f"flush table {GUARD}; delete chain {GUARD} sent; add set {GUARD} more {{ type ifname; }}")
    with Guard() as later:
        later.install()
        later.check()
        assert yard.is_mute()


def test_a_stranger_who_comes_while_it_is_looked_whose_a_table_is_stays_too(
    wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the guard the ruleset's generation tells; steering's table is made as one that was not there."""
    seen: list[str] = []

    def look_and_be_late(netlink: Netlink, table: str, marks: Mapping[str, int]) -> ownership.Owner | None:
        found = ownership.owner(netlink, table, marks)
        if found is None:
            seen.append(make(f"bridge {table}", CHAIN))
        return found

    monkeypatch.setattr(guard, "owner", look_and_be_late)
    monkeypatch.setattr(steering, "owner", look_and_be_late)
    with Guard() as made, pytest.raises(Unavailable, match="not made by Gapless"):
        made.install()
    with closing(Reconciler(wires.settings)) as host, pytest.raises(Unavailable, match="File exists"):
        host.reconcile(router())
    assert seen == [listed(GUARD), listed(STEERING)]
