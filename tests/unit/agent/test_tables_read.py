"""What the kernel tells of a table, and whether a router's rules are as they were made; no kernel is needed."""

import socket
import struct
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from kernel_in_memory import with_gateway

from gapless.agent.kernel import ruleset, tables
from gapless.agent.kernel.tables import Chain, Rule, Set, Table
from gapless.kernel.netlink import Answer, Request, attribute, nested, text
from gapless.model.router import FloatingIp

PAIR = (IPv4Address("203.0.113.20"), IPv4Address("10.0.0.5"))
ROUTER = replace(
    with_gateway("r1").router,
    floating_ips=(FloatingIp(id="f1", address=PAIR[0], fixed_address=PAIR[1]),),
)
MADE = ruleset.render(ROUTER)


def translation(name: str, *pairs: tuple[IPv4Address, IPv4Address]) -> Set:
    packed = frozenset((key.packed, value.packed) for key, value in pairs)
    return Set(name=name, flags=tables.MAP, key_type=tables.ADDRESS, data_type=tables.ADDRESS, pairs=packed)


def as_made() -> Table:
    """A table as the kernel shows it after these rules were loaded."""
    chains = [ruleset._input(), ruleset._forward(ROUTER), *ruleset._translation(ROUTER)]
    shown = [
        Chain(
            name=it.name,
            type=it.type,
            hook=it.hook,
            priority=it.priority,
            policy=it.policy,
            rules=tuple(Rule(comment, rule.encode()) for rule, comment in it.rules),
        )
        for it in chains
    ]
    maps = (translation("floating_to_fixed", PAIR), translation("fixed_to_floating", PAIR[::-1]))
    seal = Chain(name=f"text_{MADE.fingerprint}")
    return Table(flags=0, chains=(seal, *reversed(shown)), sets=maps, others=0)


def test_what_was_made_is_known_again() -> None:
    assert ruleset.judge(as_made()) == MADE


def with_chain(**changes: object) -> Table:
    """The last chain, input, is otherwise."""
    table = as_made()
    return replace(table, chains=(*table.chains[:-1], replace(table.chains[-1], **changes)))


def with_map(found: Set) -> Table:
    table = as_made()
    return replace(table, sets=(found, table.sets[1]))


@pytest.mark.parametrize(
    "table",
    [
        replace(as_made(), flags=1),
        replace(as_made(), others=1),
        replace(as_made(), chains=as_made().chains[1:]),
        replace(as_made(), chains=(*as_made().chains, Chain(name="theirs", type="filter", hook="input"))),
        with_chain(policy="accept"),
        with_chain(priority=5),
        with_chain(rules=(Rule(), *as_made().chains[-1].rules)),
        with_map(translation("floating_to_fixed")),
        with_map(replace(translation("floating_to_fixed", PAIR), pairs=None)),
        with_map(replace(translation("floating_to_fixed", PAIR), flags=tables.MAP | 4)),
        replace(as_made(), sets=(*as_made().sets, translation("theirs"))),
    ],
)
def test_whatever_was_changed_by_hand_is_seen(table: Table) -> None:
    assert ruleset.judge(table).fingerprint == ""


def test_a_rule_that_does_something_else_under_its_own_comment_is_listed_otherwise() -> None:
    made, first = ruleset.judge(as_made()), as_made().chains[-1].rules[0]
    altered = ruleset.judge(with_chain(rules=(replace(first, expressions=b"drop"), *as_made().chains[-1].rules[1:])))
    assert altered == made, "by its comments it is the same"
    assert {name for name in made.listed if made.listed[name] != altered.listed[name]} == {"input"}


def test_a_comment_is_found_among_other_notes() -> None:
    assert tables._comment(bytes((7, 2, 1, 1, 0, 5)) + b"SNAT\0") == "SNAT"
    assert tables._comment(bytes((7, 2, 1, 1))) == ""
    assert tables._comment(b"") == ""


def test_an_element_with_more_than_a_key_and_a_value_is_not_plain() -> None:
    element = {1: nested(1, attribute(1, bytes(4))), 2: nested(1, attribute(1, bytes(4)))}
    assert tables._is_plain(element)
    assert tables._is_plain({**element, 3: bytes(4)})
    assert not tables._is_plain({**element, 3: struct.pack("!I", 1)})
    assert not tables._is_plain({**element, 6: b"notes"})
    assert not tables._is_plain({1: element[1]})


class Told:
    """A socket whose kernel tells these messages, by the kind that is asked for."""

    def __init__(self, messages: dict[int, list[bytes]]) -> None:
        self.messages = messages
        self.asked: list[int] = []

    def carry_out(self, requests: Sequence[Request]) -> list[Answer]:
        return [Answer(0, "", tuple(self.dump(request.type))) for request in requests]

    def dump(self, kind: int, *_: object, **__: object) -> list[bytes]:
        self.asked.append(kind & 0xFF)
        head = struct.pack("=BBH", socket.AF_INET, 0, 0)
        return [head + body for body in self.messages.get(kind & 0xFF, [])]


def test_what_is_another_tables_is_left_out() -> None:
    ours, theirs = text(1, "gapless"), text(1, "theirs")
    hook = nested(4, attribute(1, struct.pack("!I", 4)), attribute(2, struct.pack("!i", -100)))
    base = hook + attribute(5, struct.pack("!I", 0)) + text(7, "nat")
    told = Told({4: [theirs + text(3, "b"), ours + text(3, "a") + base, ours + text(3, "c")]})
    found = [tables._chain(it, ()) for it in tables._dump(told, 4, b"", "gapless")]
    assert found == [
        Chain(name="a", type="nat", hook="postrouting", priority=-100, policy="drop"),
        Chain(name="c"),
    ]


def told_of_a_table(use: int) -> Told:
    """One chain, one map, and what the kernel counts."""
    ours = text(1, "gapless")
    return Told(
        {
            1: [ours + attribute(2, bytes(4)) + attribute(3, struct.pack("!I", use))],
            4: [ours + text(3, "input")],
            10: [ours + text(2, "theirs")],
            19: [ours + text(2, "a counter")],
        }
    )


@pytest.mark.parametrize(("use", "others"), [(2, 0), (3, 1)])
def test_other_things_are_asked_for_only_where_the_kernel_counts_more_than_chains_and_sets(
    use: int, others: int
) -> None:
    told = told_of_a_table(use)
    found = tables.read(told, tables.IPV4, "gapless")
    assert found is not None
    assert (len(found.chains), len(found.sets), found.others) == (1, 1, others)
    assert ({19, 23} <= set(told.asked)) == bool(others)
