"""Which of the kernel's routing rules are those that a namespace begins with; no kernel is needed."""

import struct

import pytest

from gapless.agent.kernel import routing
from gapless.core.dataplane.desired import ROUTING_RULES
from gapless.kernel.netlink import Netlink, text, u8, u32
from gapless.model.observed import RoutingRule

MAIN = RoutingRule(priority=32766, table=254)
PRIORITY, TABLE, SUPPRESS, PROTOCOL, IIF, MARK = 6, 15, 14, 21, 3, 10


def told(*attributes: bytes, to: int = 0, source: int = 0, tos: int = 0, action: int = 1, flags: int = 0) -> bytes:
    """A rule for the table `main`, as the kernel tells of it."""
    return struct.pack("=BBBBBBBBI", 2, to, source, tos, 254, 0, 0, action, flags) + b"".join(attributes)


PLAIN = (u32(TABLE, 254), u32(SUPPRESS, 0xFFFFFFFF), u8(PROTOCOL, 2), u32(PRIORITY, MAIN.priority))


class Telling(Netlink):
    """A socket whose kernel has these rules."""

    def __init__(self, *messages: bytes) -> None:
        self.messages = messages

    def dump(self, *_: object, **__: object) -> list[bytes]:
        return list(self.messages)


def test_a_rule_that_only_names_a_table_is_one() -> None:
    assert routing.rules(Telling(told(*PLAIN))) == {MAIN}
    assert routing.rules(Telling(told(u32(PRIORITY, MAIN.priority)))) == {MAIN}, "the head names small tables, too"
    assert routing.rules(Telling(told(u32(TABLE, 1000), u32(PRIORITY, 5)))) == {RoutingRule(priority=5, table=1000)}


@pytest.mark.parametrize(
    "message",
    [
        told(*PLAIN, text(IIF, "qr-a")),
        told(*PLAIN, u32(MARK, 1)),
        told(*PLAIN, u32(SUPPRESS, 0)),
        told(*PLAIN, to=24),
        told(*PLAIN, source=24),
        told(*PLAIN, tos=4),
        told(*PLAIN, action=6),
        told(*PLAIN, flags=2),
    ],
)
def test_a_rule_that_asks_for_anything_or_does_anything_else_is_none(message: bytes) -> None:
    assert routing.rules(Telling(message)) == frozenset()


@pytest.mark.parametrize("rule", sorted(ROUTING_RULES))
def test_what_is_put_back_is_what_was_there(rule: RoutingRule) -> None:
    assert routing.rules(Telling(routing.restore_rule(rule).body)) == {rule}
