"""What an agent does not ask its kernel for while nothing happens, by counting what that is asked; none is needed."""

import errno
import struct
from collections.abc import Sequence

import pytest

from gapless.agent.kernel import links, sweep
from gapless.agent.kernel.ruleset import Seen
from gapless.kernel.netlink import Answer, Netlink, Request, attribute, attributes, nested, text
from gapless.model.router import RouterId

ROUTER, OTHER = RouterId("r1"), RouterId("r2")
HEAD = bytes(4)
GETGEN, GETTABLE = 16, 1
IFINFO = 16


class Transactions(Netlink):
    """A kernel's nftables in one namespace: a table without anything in it, and a count of transactions."""

    def __init__(self, last: int | None) -> None:
        self.last = last
        self.read = 0
        """How often the table was looked for."""

    def ask(self, requests: Sequence[Request]) -> list[Answer]:
        return [self._answer(request.type & 0xFF) for request in requests]

    def _answer(self, kind: int) -> Answer:
        if kind == GETGEN and self.last is not None:
            return Answer(0, "", (HEAD + attribute(1, struct.pack("!I", self.last)),))
        if kind == GETTABLE:
            self.read += 1
            return Answer(0, "", (HEAD + text(1, "gapless"),))
        return Answer(errno.EINVAL, "", ())

    def dump(self, kind: int, body: bytes, about: str, empty: frozenset[int] = frozenset()) -> list[bytes]:
        return []


def test_rules_are_read_again_only_after_a_transaction() -> None:
    seen, kernel = Seen(), Transactions(last=2)
    found = [seen.observe(ROUTER, 7, kernel) for _ in range(3)]
    assert found[0] is not None
    assert (found, kernel.read) == ([found[0]] * 3, 1)
    kernel.last = 3
    seen.observe(ROUTER, 7, kernel)
    assert kernel.read == 2


def test_rules_are_read_again_in_another_namespace_of_another_router_and_when_something_was_done() -> None:
    seen, kernel = Seen(), Transactions(last=2)
    for router_id, namespace in ((ROUTER, 7), (ROUTER, 8), (OTHER, 8)):
        before = kernel.read
        seen.observe(router_id, namespace, kernel)
        assert kernel.read == before + 1
    seen.forget([OTHER])
    seen.observe(OTHER, 8, kernel)
    assert kernel.read == 4


def test_a_kernel_that_does_not_tell_is_read_each_time() -> None:
    seen, kernel = Seen(), Transactions(last=None)
    for _ in range(2):
        seen.observe(ROUTER, 7, kernel)
    assert kernel.read == 2


class Links(Netlink):
    """A host's links, by name and kind, which tells of those of the kind that is asked for; or of all."""

    def __init__(self, found: dict[str, str], *, filters: bool) -> None:
        self._found, self._filters = found, filters
        self.told = 0

    def dump(self, kind: int, body: bytes, about: str, empty: frozenset[int] = frozenset()) -> list[bytes]:
        asked = attributes(body, IFINFO).get(18)
        wanted = attributes(asked)[1].rstrip(b"\0").decode() if asked is not None and self._filters else None
        told = [_link(name, what) for name, what in self._found.items() if wanted in (None, what)]
        self.told += len(told)
        return told


def _link(name: str, kind: str) -> bytes:
    mark = text(20, f"{links.OUR_MARK}{ROUTER}")
    return bytes(IFINFO) + text(3, name) + mark + nested(18, text(1, kind))


@pytest.mark.parametrize(("filters", "told"), [(True, 2), (False, 4)])
def test_of_bridges_and_tunnels_nothing_is_told_where_taps_are_listed(filters: bool, told: int) -> None:
    host = Links({"tap1": "veth", "br1": "bridge", "vx1": "vxlan", "joint1": "veth"}, filters=filters)
    assert (sweep.routers_of_taps(host), host.told) == (frozenset({ROUTER}), told)
