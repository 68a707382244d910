"""Which links pass frames is remembered from what the kernel says that comes through the filter."""

import socket
import struct

import pytest

from bpf_machine import passes
from gapless.agent.hint import Hint
from gapless.agent.kernel import filters
from gapless.agent.kernel.watch import DriftWatcher
from gapless.kernel.netlink import text, u8, u32
from gapless.model.router import RouterId

NEWLINK, UP, RUNNING = 16, 0x1, 0x40
MARK = "gapless:r1"


class Watcher(DriftWatcher):
    """One without a kernel, which is told what passes."""

    def __init__(self) -> None:
        self._uplinks = frozenset({"ext0"})
        self._passing = {}
        self.hints: list[Hint] = []

    def _take(self, hint: Hint) -> None:
        self.hints.append(hint)

    def hear(self, name: str, flags: int, change: int, alias: str) -> None:
        """What the kernel says of a link that is a port, if that passes the filter."""
        body = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, 7, flags, change) + text(3, name) + u32(4, 1500)
        body += u8(16, 6 if flags & UP else 2) + u32(10, 9) + (text(20, alias) if alias else b"")
        message = struct.pack("=IHHII", 16 + len(body), NEWLINK, 0, 0, 0) + body
        if passes(filters.OF_LINKS_THAT_PASS, message):
            self._note(message)


def test_a_tap_whose_mark_is_taken_away_is_told_of_and_again_when_it_has_it_and_goes_down() -> None:
    watcher = Watcher()
    watcher.hear("tapa", UP | RUNNING, UP, MARK)
    assert not watcher.hints
    watcher.hear("tapa", UP | RUNNING, 0, "")
    assert [it.router_id for it in watcher.hints] == [RouterId("r1")]
    assert not watcher._passing
    watcher.hear("tapa", 0, UP | RUNNING, "")
    watcher.hear("tapa", 0, 0, MARK)
    watcher.hear("tapa", UP | RUNNING, UP, MARK)
    watcher.hear("tapa", 0, UP | RUNNING, MARK)
    assert [it.router_id for it in watcher.hints] == [RouterId("r1")] * 2


@pytest.mark.parametrize("flags", [UP | RUNNING, 0])
def test_an_uplink_that_is_renamed_is_told_of_at_once(flags: int) -> None:
    watcher = Watcher()
    watcher.hear("ext0", UP | RUNNING, UP, "")
    watcher.hear("was0", UP | RUNNING, 0, "")
    assert len(watcher.hints) == 1
    watcher.hear("was0", flags, UP, "")
    watcher.hear("ext0", 0, 0, "")
    assert not watcher._passing
