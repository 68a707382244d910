"""An agent's whole life beside other software: what is not Gapless's own is what it was, byte for byte.

Compared is what the kernel says: namespaces by name; links with all that they have, addresses, routes and rules of both
families, forwarding entries, nftables, and every sysctl below net/. Left out is what runs by itself (the timers of
bridges, how many connections are tracked now); while routers run, the interfaces that the host was given to use; and
sysctls that come with connection tracking, if this machine's kernel had not loaded that before.
"""

import json
import os
import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
from kernel_fixtures import BRIDGE_A, NAMESPACE, OUTSIDE, ROUTER_ID, TAP_A, Wires, delete_name, ip, ip_json, nft, router
from test_kernel_mending import agent, until

from gapless.agent.driver import Rhythm
from gapless.agent.kernel import netns
from gapless.agent.kernel.links import OUR_MARK
from gapless.agent.kernel.steeringtable import TABLE
from gapless.model.plan import RouterState
from gapless.model.router import RouterId

pytestmark = pytest.mark.isolated

AUDITING = Rhythm(listing_interval_s=0.05, audit_period_s=0.05)
GIVEN = frozenset({"ext0", "data0"})
"""Interfaces that the host was given to use."""
THEIRS, LIKE_OURS = "theirs", "qrouter-99999999-9999-4999-8999-999999999999"
OTHER_ID = RouterId("22222222-1111-4111-8111-111111111111")
SYSCTLS = Path("/proc/sys/net")
OF_TRACKING = "sysctl netfilter/"
COUNTS = "netfilter/nf_conntrack_count"
Ground = dict[str, str]

SETTLED = """
    sysctl -qw net.ipv6.conf.default.accept_dad=0
    sysctl -qw net.ipv4.conf.all.rp_filter=1
    sysctl -qw net.ipv4.conf.default.arp_announce=1
    ip link set ext0 up
    ip netns add theirs
    ip link add their0 type veth peer name their0 netns theirs
    ip address add 192.0.2.1/24 dev their0
    ip link set their0 up
    ip link add br-theirs type bridge forward_delay 0
    ip link set br-theirs up
    ip link add their1 type veth peer name their1 netns theirs
    ip link set their1 master br-theirs up
    bridge fdb add 02:00:00:00:00:77 dev their1 master static
    ip netns exec theirs sysctl -qw net.ipv4.ip_forward=1
    ip -n theirs address add 192.0.2.2/24 dev their0
    ip -n theirs link set their0 up
    ip -n theirs link set their1 up
    ip route add 198.51.100.0/24 via 192.0.2.2
    ip route add default via 192.0.2.2 table 77
    ip rule add from 192.0.2.0/24 lookup 77
    ip link add tap99999999-99 type veth peer name tap88888888-88
    ip link add brq99999999-99 type bridge
    ip link add vxlan-999 type vxlan id 999 dev data0 dstport 4799
    ip netns add {like_ours}
    ip -n {like_ours} link add qr-99999999-99 type veth peer name qg-99999999-99
    ip -n {like_ours} address add 10.9.0.1/24 dev qr-99999999-99
    ip -n {like_ours} link set qr-99999999-99 up
"""
"""Other software that was here before the agent. Some of it has names like ours, and no mark."""
RULES = (
    ("", "table inet theirs { set s { type ipv4_addr; elements = { 192.0.2.7 }; }; }"),
    ("", "table inet theirs { chain c { type filter hook forward priority 0; policy accept; ip saddr @s drop; }; }"),
    ("", "table bridge theirs { chain c { type filter hook forward priority -10; policy accept; }; }"),
    (THEIRS, "table ip gapless { chain forward { type filter hook forward priority 0; policy drop; }; }"),
)


def settle() -> None:
    for command in SETTLED.format(like_ours=LIKE_OURS).splitlines():
        run(*command.split())
    for inside, rules in RULES:
        run("nft", rules, inside=inside)


def at_rest() -> bool:
    """Whether all that the kernel does by itself after a link is set up has been done: carrier, then IPv6 addresses."""
    links = {at: {it["ifname"]: it for it in ip_json("address", inside=at or None)} for at in ("", THEIRS, LIKE_OURS)}
    settled = all(
        links[at][name]["operstate"] == "UP" and any(it["family"] == "inet6" for it in links[at][name]["addr_info"])
        for at, name in (("", "their0"), ("", "their1"), ("", "br-theirs"), (THEIRS, "their0"), (THEIRS, "their1"))
    )
    # Its peer stays down: the kernel takes note of that as well, up to a second later.
    settled = settled and links[LIKE_OURS]["qr-99999999-99"]["operstate"] != "UNKNOWN"
    return settled and not any(
        address.get("tentative") for found in links.values() for it in found.values() for address in it["addr_info"]
    )


def run(*words: str, inside: str = "") -> str:
    command = [*(("ip", "netns", "exec", inside) if inside else ()), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout if words else ""


def ground(inside: str, besides: Collection[str]) -> Ground:
    """What the kernel says of a namespace, "" for the host's, without the links `besides`."""

    def lines(*words: str) -> str:
        said = run(*words, inside=inside).splitlines()
        return "\n".join(sorted(it for it in said if not set(it.split()) & set(besides)))

    def of_links(*words: str) -> str:
        links = json.loads(run("ip", "-j", *words, inside=inside))
        return json.dumps([_still(it) for it in links if it["ifname"] not in besides], indent=1, sort_keys=True)

    found = {
        "links": of_links("-d", "link"),
        "addresses": of_links("address"),
        "forwarding entries": lines("bridge", "fdb", "show"),
        **{f"routes {family}": lines("ip", family, "route", "show", "table", "all") for family in ("-4", "-6")},
        **{f"rules {family}": lines("ip", family, "rule") for family in ("-4", "-6")},
    }
    for table in run("nft", "list", "tables", inside=inside).splitlines():
        if table != f"table bridge {TABLE}":
            found[table] = run("nft", "list", *table.split(), inside=inside)
    read = netns.enter(netns.DIRECTORY / inside, lambda: dict(_sysctls(besides))) if inside else dict(_sysctls(besides))
    return found | {f"sysctl {key}": value for key, value in read.items() if key != COUNTS}


def _still(it: Any) -> Any:
    """What is said of a link, without the timers of bridges."""
    if not isinstance(it, dict):
        return it
    return {key: _still(value) for key, value in it.items() if not key.endswith("_timer")}


def _sysctls(besides: Collection[str]) -> Iterator[tuple[str, str]]:
    """Of the calling thread's namespace; some may not be read, or not by everybody."""
    for directory, below, files in os.walk(SYSCTLS):
        below[:] = [name for name in below if name not in besides]
        for name in files:
            path = Path(directory) / name
            try:
                yield str(path.relative_to(SYSCTLS)), path.read_text(errors="replace")
            except OSError:
                continue


def ours() -> frozenset[str]:
    return frozenset(it["ifname"] for it in ip_json("link") if it.get("ifalias", "").startswith(OUR_MARK))


def foreign(*, besides: frozenset[str] = frozenset()) -> dict[str, Ground]:
    """What is not Gapless's own."""
    mine = {NAMESPACE, f"qrouter-{OTHER_ID}"}
    names = sorted(name for name in os.listdir(netns.DIRECTORY) if name not in mine)  # noqa: PTH208 -- names, not paths
    left_out = ours() | besides
    return {"names": dict.fromkeys(names, "")} | {at: ground(at, left_out) for at in ("", THEIRS, LIKE_OURS)}


def assert_is(found: dict[str, Ground], before: dict[str, Ground]) -> None:
    for at, was in before.items():
        assert {key: found[at].get(key) for key in was} == was, at or "the host"
        new = found[at].keys() - was.keys()
        assert [key for key in sorted(new) if not key.startswith(OF_TRACKING)] == [], at or "the host"


async def test_what_is_not_ours_is_what_it_was_while_routers_are_built_audited_mended_and_deleted(wires: Wires) -> None:
    settle()
    await until(at_rest)
    whole, beside = foreign(), foreign(besides=GIVEN)
    one, other = router(("203.0.113.20", "10.0.0.5")), router(id=OTHER_ID, ports=(), gateway=None)
    async with agent(wires.settings, AUDITING) as running:
        kernel = running.kernel
        await running.plan(one, other)
        await running.active(one.id, other.id)
        await until(lambda: min(kernel.looks.count(it) for it in (one.id, other.id)) > 3)
        assert await _reaches(wires)
        assert_is(foreign(besides=GIVEN), beside)
        for harm in (
            lambda: nft("flush ruleset"),
            lambda: ip(f"link delete {TAP_A}"),
            lambda: ip(f"link set {BRIDGE_A} down"),
            lambda: ip("link set ext0 nomaster"),
            lambda: delete_name(NAMESPACE),
        ):
            changes = len(kernel.changes)
            harm()
            await until(lambda before=changes: len(kernel.changes) > before)  # type: ignore[misc]
            assert await _reaches(wires)
        assert_is(foreign(besides=GIVEN), beside)
        await running.plan()
        for router_id in (ROUTER_ID, OTHER_ID):
            await running.hear_until(lambda it, of=router_id: (it.router_id, it.state) == (of, RouterState.REMOVED))  # type: ignore[misc]
        await until(lambda: not ours())
        await until(lambda: TABLE not in run("nft", "list", "tables"))
    assert_is(foreign(), whole)


async def _reaches(wires: Wires) -> bool:
    await until(lambda: wires.reaches("vm1b", OUTSIDE))
    return True
