"""The steering table as the kernel shows it, and what is said to nft; no kernel is needed."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gapless.agent.kernel import netns, steeringtable
from gapless.agent.kernel.reference import AGAIN_S
from gapless.agent.kernel.steeringtable import AsMade
from gapless.agent.kernel.tables import Chain, Rule, Set, Table
from gapless.errors import Unavailable
from gapless.kernel.netlink import as_text, attributes, each_attribute
from gapless.model.steering import Kind


def listing() -> Table:
    """What a table that is as it was made lists."""
    chains = []
    for name, (hook, rules) in steeringtable._CHAINS.items():
        at = {"type": "filter", "hook": hook[0], "priority": hook[1], "policy": "accept"} if hook is not None else {}
        chains.append(Chain(name=name, rules=tuple(Rule(comment, what.encode()) for what, comment in rules), **at))  # type: ignore[arg-type]
    sets = [Set(name=kind.value, flags=0, key_type=0, data_type=0, pairs=None) for kind in Kind]
    return Table(flags=0, chains=tuple(chains), sets=tuple(sets), others=0)


def with_chain(listed: Table, name: str, **changes: Any) -> Table:
    chains = tuple(replace(it, **changes) if it.name == name else it for it in listed.chains)
    return replace(listed, chains=chains)


def test_keys_are_read_as_they_were_written() -> None:
    name = b"eth1".ljust(16, b"\0")
    assert steeringtable._decoded(Kind.ASKED, name + bytes((203, 0, 113, 10))) == ("eth1", "203.0.113.10")
    assert steeringtable._decoded(Kind.NEXT_HOPS, bytes((10, 0, 0, 1, 10, 0, 0, 2))) == ("10.0.0.1", "10.0.0.2")
    assert steeringtable._decoded(Kind.INLETS, name) == ("eth1",)
    assert steeringtable._decoded(Kind.STEERED, bytes.fromhex("be163e000002")) == ("be:16:3e:00:00:02",)


HARMS: dict[str, Callable[[Table], Table]] = {
    "a rule less": lambda it: with_chain(it, "leaving", rules=it.chains[2].rules[1:]),
    "a rule more": lambda it: with_chain(it, "leaving", rules=(*it.chains[2].rules, Rule())),
    "a set less": lambda it: replace(it, sets=it.sets[1:]),
    "another place": lambda it: with_chain(it, "leaving", priority=0),
    "another policy": lambda it: with_chain(it, "leaving", policy="drop"),
    "asleep": lambda it: replace(it, flags=1),
    "more in it": lambda it: replace(it, others=1),
}
ALTERED = with_chain(
    listing(), "leaving", rules=tuple(replace(it, expressions=b"") for it in listing().chains[2].rules)
)
"""Rules that do something else under our comments."""


class Kernel:
    """Lists what the test says: of the host, and of a namespace apart."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.here: Table | None = listing()
        self.apart: Table | None = listing()
        self.asked = 0
        self.now = 0.0
        monkeypatch.setattr(steeringtable, "_shape", lambda _: self.here)
        monkeypatch.setattr(netns, "in_own_thread", self._listed_apart)

    def _listed_apart(self, *_: object) -> Table:
        self.asked += 1
        if self.apart is None:
            raise Unavailable("no namespace is to be had")
        return self.apart

    def made(self) -> AsMade:
        return AsMade(now=lambda: self.now)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


def is_here(made: AsMade) -> bool:
    return made.is_here(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("asks", [True, False], ids=["asked", "not to be asked"])
@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_a_table_that_was_changed_is_not_as_it_was_made(
    kernel: Kernel, harm: Callable[[Table], Table], asks: bool
) -> None:
    kernel.apart = listing() if asks else None
    made = kernel.made()
    assert is_here(made)
    kernel.here = harm(listing())
    assert not is_here(made)
    kernel.here = None
    assert not is_here(made)


def test_rules_are_known_by_what_they_do_and_the_kernel_is_asked_once(kernel: Kernel) -> None:
    made = kernel.made()
    kernel.here = ALTERED
    assert not is_here(made)
    kernel.now += 10 * AGAIN_S
    assert not is_here(made)
    assert kernel.asked == 1


def test_a_kernel_that_cannot_be_asked_is_asked_again_later_and_that_is_told_once(
    kernel: Kernel, log_lines: list[str]
) -> None:
    kernel.apart, kernel.here = None, ALTERED
    made = kernel.made()
    assert is_here(made), "known by comments alone"
    kernel.now += AGAIN_S / 2
    assert is_here(made)
    assert kernel.asked == 1
    kernel.now += AGAIN_S / 2
    assert is_here(made)
    assert kernel.asked == 2
    assert len([line for line in log_lines if "by their comments alone" in line]) == 1
    kernel.apart = listing()
    kernel.now += AGAIN_S
    assert not is_here(made)


def test_one_message_a_set() -> None:
    places: list[tuple[Kind, tuple[str, ...]]] = [
        (Kind.ASKED, ("eth1", "203.0.113.10")),
        (Kind.ASKED, ("eth1", "203.0.113.11")),
        (Kind.NEXT_HOPS, ("203.0.113.1", "203.0.113.1")),
    ]
    macs = {places[0]: "be:00:00:00:00:01", places[1]: "be:00:00:00:00:02"}
    said = [(message.type, attributes(message.body)) for message in steeringtable.messages(12, places, macs)]
    assert [(verb, as_text(of_set[1]), as_text(of_set[2])) for verb, of_set in said] == [
        (12, "gapless_arp", "asked"),
        (12, "gapless_arp", "next_hops"),
    ]
    asked = [attributes(each) for _, each in each_attribute(said[0][1][3])]
    assert [steeringtable._decoded(Kind.ASKED, attributes(each[1])[1]) for each in asked] == [
        key for _, key in places[:2]
    ]
    assert [attributes(each[2])[1].hex(":") for each in asked] == ["be:00:00:00:00:01", "be:00:00:00:00:02"]
    ((_, next_hop),) = each_attribute(said[1][1][3])
    assert attributes(next_hop).keys() == {1}, "a set has no values"
