"""Rules that are copied from what the kernel lists are those that their text makes, or the text is loaded."""

import socket
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest
from kernel_fixtures import FLOATING_IP, OUTSIDE, PORT_OUT, ROUTER_ID, Wires, nft, router
from whole_router import WHOLE, works

from gapless.agent.kernel import netns, rulecopies, ruleset
from gapless.agent.kernel.nft import Nft
from gapless.agent.kernel.reference import Reference
from gapless.agent.kernel.rulecopies import Copied
from gapless.agent.reconcile import Reconciler
from gapless.kernel.netlink import CREATE, NETFILTER, Netlink, attribute, text
from gapless.kernel.transactions import Message, Transactions
from gapless.model.observed import Ruleset
from gapless.model.router import FloatingIp, Router
from logged import kept

pytestmark = pytest.mark.isolated

LIST = "list table ip gapless"
_NEWCHAIN = 3


def kinds() -> list[Router]:
    """Of all five rulesets, with floating IPs or without."""
    assert WHOLE.gateway is not None
    bare = replace(WHOLE.gateway, port=replace(PORT_OUT, addresses=()), next_hop=None)
    return [
        replace(WHOLE, admin_up=False),
        replace(WHOLE, gateway=None, floating_ips=()),
        replace(WHOLE, gateway=bare, floating_ips=()),
        router((FLOATING_IP, "10.0.0.5"), snat=False),
        router(),
        WHOLE,
    ]


def never(*_: Any, **__: Any) -> None:
    raise AssertionError("rules were loaded as text")


def test_of_every_kind_an_operator_sees_what_the_text_would_have_made(
    host: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in kinds():
        host.reconcile(kind)
        nft("flush ruleset")
        with monkeypatch.context() as patched:
            patched.setattr(ruleset, "load", never)
            assert host.reconcile(kind).changed
        copied = nft(LIST)
        nft("flush ruleset")
        with monkeypatch.context() as patched:
            patched.setattr(Reference, "copy", lambda *_: None)
            patched.setattr(rulecopies, "load", never)
            assert host.reconcile(kind).changed
        assert nft(LIST) == copied
        host.remove(ROUTER_ID)


def test_copied_rules_translate_in_both_directions_and_come_in_place_of_others(
    wires: Wires, host: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.reconcile(router())  # its kind is known from here on
    host.remove(ROUTER_ID)
    monkeypatch.setattr(ruleset, "load", never)
    host.reconcile(WHOLE)
    assert works(wires)
    host.reconcile(replace(WHOLE, floating_ips=()))
    assert not wires.reaches("outside", FLOATING_IP)
    assert wires.reaches("vm1", OUTSIDE)
    host.reconcile(WHOLE)
    assert works(wires)


def test_a_router_with_more_floating_ips_than_a_message_has_room_for(host: Reconciler) -> None:
    """A netlink attribute has 65,535 bytes at most: some 2,300 elements."""
    many = tuple(
        FloatingIp(
            id=f"f{number}",
            address=IPv4Address("203.0.113.0") + 1000 + number,
            fixed_address=IPv4Address("10.0.1.0") + number,
        )
        for number in range(3000)
    )
    ours = replace(WHOLE, floating_ips=())
    host.reconcile(ours)
    rules = ruleset.render(replace(WHOLE, floating_ips=many))
    messages = Reference().copy(WHOLE, rules)
    assert messages is not None

    def make() -> None:
        with Transactions(family=socket.AF_INET) as transactions:
            rulecopies.load(transactions, messages, is_there=True)

    netns.enter(netns.path_of(ROUTER_ID), make)
    assert netns.enter(netns.path_of(ROUTER_ID), observed) == rules


def observed() -> Ruleset | None:
    """The rules of the calling thread's namespace."""
    with Netlink(NETFILTER) as netlink:
        return ruleset.observe(netlink)


def with_one_too_many(messages: list[Message] | None) -> list[Message]:
    """With a chain at the end that no kernel makes: it has a policy, and no hook (nf_tables_newchain)."""
    assert messages is not None
    chain = text(1, ruleset.TABLE) + text(3, "theirs") + attribute(5, bytes(4))
    return [*messages, Message(_NEWCHAIN, CREATE, chain)]


def loaded_as_text(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was, as it grows."""
    transact, loaded = Nft.transact, list[str]()

    def told(context: Nft, commands: str, about: str) -> None:
        loaded.append(about)
        transact(context, commands, about)

    monkeypatch.setattr(Nft, "transact", told)
    return loaded


def test_what_the_kernel_does_not_take_is_loaded_as_text_from_then_on_and_told_once(
    wires: Wires, host: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New rules and such as come in place of others; of what was refused nothing is left."""
    for kind in (router(snat=False), WHOLE):
        host.reconcile(kind)  # it is known how its rules are made
    host.remove(ROUTER_ID)
    copied = Copied.of_another
    monkeypatch.setattr(Copied, "of_another", lambda *given: with_one_too_many(copied(*given)))
    loaded = loaded_as_text(monkeypatch)
    with kept("agent") as lines:
        host.reconcile(WHOLE)
        assert loaded == ["load the router's rules"]
        assert works(wires)
        host.reconcile(router(snat=False))
        assert loaded == ["load the router's rules"] * 2
        assert wires.ping("vm2", OUTSIDE).returncode != 0
        host.reconcile(WHOLE)
        assert loaded == ["load the router's rules"] * 3
    told = [line for line in lines if "are loaded as text" in line]
    assert len(told) == 2, "of each kind"
    assert all("Operation not supported" in line for line in told)


def test_what_somebody_else_did_in_between_says_nothing_of_copies(
    host: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that is there when one is to be made, and one that is gone when it is to be replaced."""
    host.reconcile(WHOLE)
    load, loaded = rulecopies.load, loaded_as_text(monkeypatch)

    def too_late(*arguments: Any, is_there: bool) -> None:
        nft("flush ruleset" if is_there else "add table ip gapless")
        load(*arguments, is_there=is_there)

    for damage in ("flush ruleset", "insert rule ip gapless forward drop"):
        nft(damage)
        with monkeypatch.context() as patched:
            patched.setattr(rulecopies, "load", too_late)
            assert host.reconcile(WHOLE).changed
        assert loaded == ["load the router's rules"]
        nft("flush ruleset")
        assert host.reconcile(WHOLE).changed
        assert loaded == ["load the router's rules"], "the next ones are copied"
        loaded.clear()


def test_rules_that_do_not_come_out_alike_are_not_copied(
    wires: Wires, host: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What makes the proof fail here: a kernel that lists a rule less than it takes."""
    listed = rulecopies._listed

    def less(*part: Any) -> list[Message]:
        return list(listed(*part))[:-1]

    monkeypatch.setattr(rulecopies, "_listed", less)
    with kept("agent") as lines:
        host.reconcile(WHOLE)
        host.reconcile(router())
        host.reconcile(WHOLE)
    assert host._rules._reference.copy(WHOLE, ruleset.render(WHOLE)) is None
    assert works(wires)
    assert len([line for line in lines if "loaded as text" in line]) == 1
