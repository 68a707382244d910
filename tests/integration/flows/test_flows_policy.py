"""What is worth copying, in real kernels: protocols, the age of UDP, and a policy that became another one."""

import time

import pytest
from flow_fixtures import ROUTER, SERVER, Pair, sh, until
from flow_messages import sctp_entry, udp_entry

from gapless.flows.entries import Entry
from gapless.flows.table import Table
from gapless.kernel.netns import DIRECTORY
from gapless.model.flow import FlowPolicy, FlowProtocol
from gapless.model.host import HostName
from gapless.wire.flowlink import Asking

pytestmark = pytest.mark.isolated

TCP_ONLY = FlowPolicy(protocols=(FlowProtocol.TCP,))


def make(*entries: Entry) -> None:
    """Have these in the active router's table, as if packets had made them."""
    with Table(DIRECTORY / "a") as table:
        assert table.make(entries) == []


def has(pair: Pair, *protocols: str) -> bool:
    """Whether these, and no others, are on the standby."""
    return sorted(line.split()[2] for line in pair.tracked("b")) == sorted(protocols)


async def test_all_three_are_copied_and_told_and_what_is_not_assured_is_not(pair: Pair) -> None:
    pair.connected()
    make(udp_entry(2000), sctp_entry(2000))
    async with pair.following(pair.source(), pair.sink()):
        await until("the copy is on b", lambda: has(pair, "tcp", "udp", "sctp"))
        sh(f"ping -c1 -W5 {SERVER}", inside="client")
        make(udp_entry(2001), sctp_entry(2001))
        await until("so are changes", lambda: has(pair, "tcp", "udp", "sctp", "udp", "sctp"))
        assert all("sctp" not in line or "ESTABLISHED" in line for line in pair.tracked("b"))
        assert pair.figures["b"].refused == 0
        with Table(DIRECTORY / "a") as table:
            table.remove([sctp_entry(2000).flow, udp_entry(2000).flow])
        await until("what is over is gone there, too", lambda: has(pair, "tcp", "udp", "sctp"))


async def test_what_a_new_policy_leaves_out_is_removed_by_the_copy_and_told_no_more(pair: Pair) -> None:
    pair.connected()
    make(udp_entry(2000), sctp_entry(2000))
    async with pair.following(pair.source(), pair.sink()):
        await until("all is on b", lambda: has(pair, "tcp", "udp", "sctp"))
    source = pair.source(policy=TCP_ONLY)
    async with pair.following(source, pair.sink()):
        await until("only TCP is", lambda: has(pair, "tcp"))
        heard = pair.figures["a"].heard
        make(udp_entry(2001), sctp_entry(2001))
        pair.connected(5003)
        await until("the next connection is there", lambda: has(pair, "tcp", "tcp"))
        await until("nothing is under way", lambda: source.flushed({ROUTER: Asking(to=HostName("b"))}) == [ROUTER])
        assert has(pair, "tcp", "tcp")
        assert pair.figures["a"].heard > heard
    assert len(pair.tracked("a")) == 6, "there all of them go on"


async def test_udp_is_copied_when_it_has_gone_on_for_long_enough(pair: Pair) -> None:
    make(udp_entry(2000))
    source = pair.source(policy=FlowPolicy(udp_age_s=3600.0))
    async with pair.following(source, pair.sink()):
        await until("what was there before is on b", lambda: has(pair, "udp"))
        make(udp_entry(2001), udp_entry(2002))
        pair.connected()
        await until("a connection is there", lambda: has(pair, "udp", "tcp"))
        await until("nothing is under way", lambda: source.flushed({ROUTER: Asking(to=HostName("b"))}) == [ROUTER])
        assert has(pair, "udp", "tcp"), "what is young is not"
        with Table(DIRECTORY / "a") as table:
            table.remove([udp_entry(2002).flow])
        source.flushed({ROUTER: Asking(to=HostName("b"))})  # hears that it is over
        source.look(time.monotonic() + 3600.0)
        await until("what is old by now is", lambda: has(pair, "udp", "udp", "tcp"))
