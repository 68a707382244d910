"""What configuration does not show: a router whose frames somebody drops, or whose gateway somebody entered wrongly."""

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface

import pytest
from kernel_fixtures import BRIDGE_OUT, OUTSIDE, PORT_OUT, Wires, ip, ip_json

from gapless.agent.kernel.gateways import look
from gapless.agent.reconcile import Reconciler
from gapless.core.dataplane import gateways
from gapless.core.dataplane.desired import gateway_link
from gapless.core.dataplane.gateways import Gateways
from gapless.model.neighbour import Neighbour, Reach, WayOut
from gapless.model.network import PortId
from gapless.model.plan import Epoch
from gapless.model.router import Gateway, Router, RouterId

pytestmark = pytest.mark.isolated

IDS = [RouterId(f"{number}1111111-1111-4111-8111-111111111111") for number in (1, 2, 3)]
ONE, TWO, THREE = IDS
WRONG_MAC = "02:00:00:00:00:66"


def made(router_id: RouterId) -> Router:
    """A router that has a way out and nothing else."""
    number = int(router_id[0])
    port = replace(
        PORT_OUT,
        id=PortId(f"e000000{number}-0000-4000-8000-000000000001"),
        mac=f"fa:16:3e:0e:00:0{number}",
        addresses=(IPv4Interface(f"203.0.113.{10 + number}/24"),),
    )
    gateway = Gateway(port=port, next_hop=IPv4Address(OUTSIDE), snat=True)
    return Router(id=router_id, name="", gateway=gateway)


def link_of(router_id: RouterId) -> str:
    gateway = made(router_id).gateway
    assert gateway is not None
    return gateway_link(gateway.port.id)


def tap_of(router_id: RouterId) -> str:
    return f"tap{link_of(router_id)[3:]}"


@dataclass
class Looking:
    """Looks at three routers as the agent does, only quicker: their kernels doubt after a second, not after thirty."""

    ways: list[WayOut]
    gateways: Gateways = field(default_factory=Gateways)
    ailments: dict[RouterId, str] = field(default_factory=dict)

    def look(self) -> dict[RouterId, Neighbour]:
        now = time.monotonic()
        found = look(self.gateways.next_batch(now, lambda: self.ways))
        concluded = self.gateways.take(found, time.monotonic())
        self.ailments |= {way.router_id: deafness.why for way, deafness in concluded.items()}
        return found

    def says(self, **ailments: str) -> bool:
        """Whether a look finds just these."""
        self.look()
        return {each: why for each, why in self.ailments.items() if why} == ailments


@pytest.fixture
def looking(host: Reconciler, wires: Wires, monkeypatch: pytest.MonkeyPatch) -> Looking:
    monkeypatch.setattr(gateways, "ROUND_S", 0.2)
    monkeypatch.setattr(gateways, "ASKING_S", 1.5)
    ways = []
    for each in IDS:
        router = made(each)
        assert router.gateway is not None
        host.reconcile(router)
        link, network = link_of(each), router.gateway.port.network.id
        for key, value in (
            ("base_reachable_time_ms", 1000),
            ("gc_stale_time", 1),
            ("delay_first_probe_time", 1),
            ("retrans_time_ms", 100),
        ):
            command = ["ip", "netns", "exec", f"qrouter-{each}", "sysctl", "-qw"]
            subprocess.run([*command, f"net/ipv4/neigh/{link}/{key}={value}"], check=True, timeout=10)
        ways.append(
            WayOut(
                router_id=each,
                epoch=Epoch(1),
                link=link,
                gateway=IPv4Address(OUTSIDE),
                network_id=network,
                guarded=False,
            )
        )
    looking = Looking(ways)
    within(lambda: set(reach(looking.look()).values()) == {Reach.HEARD})
    return looking


def reach(found: dict[RouterId, Neighbour]) -> dict[RouterId, Reach]:
    return {each: neighbour.reach for each, neighbour in found.items()}


def gateway_mac() -> str:
    return str(ip_json("link show ext0", inside="outside")[0]["address"])


def within(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    """As `Wires.eventually`; the kernel's own patience takes its time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


def test_a_gateway_is_heard_and_where_it_is_known(looking: Looking) -> None:
    found = look(looking.ways)
    assert {neighbour.mac for neighbour in found.values()} == {gateway_mac()}
    assert all(it.confirmed_ago_s is not None for it in found.values())


def test_an_idle_router_asks_without_a_packet_of_its_own(looking: Looking) -> None:
    ip(f"neighbour flush dev {link_of(ONE)}", inside=f"qrouter-{ONE}")
    assert look(looking.ways[:1])[ONE].reach is Reach.UNKNOWN
    within(lambda: look(looking.ways[:1])[ONE].reach is Reach.HEARD)


def test_a_router_whose_arp_a_foreigner_drops_ails_until_he_stops(looking: Looking) -> None:
    drop = f"""
        table bridge foreign {{
            chain cut {{ type filter hook prerouting priority -400; iifname "{tap_of(ONE)}" ether type arp drop; }}
        }}
    """
    subprocess.run(["nft", "-f", "-"], input=drop, text=True, check=True, timeout=10)
    said = f"its gateway {OUTSIDE} does not answer it, while it answers others here (2)"
    within(lambda: looking.says(**{ONE: said}) or looking.says(**{ONE: said.replace("(2)", "(1)")}))
    subprocess.run(["nft", "delete table bridge foreign"], check=True, timeout=10)
    within(looking.says)


def test_a_gateway_that_somebody_entered_wrongly_is_named_and_left_as_it_is(looking: Looking) -> None:
    where = f"neighbour replace {OUTSIDE} dev {link_of(ONE)} nud permanent lladdr {WRONG_MAC}"
    ip(where, inside=f"qrouter-{ONE}")
    said = f"somebody entered {WRONG_MAC} as the address of its gateway {OUTSIDE}, which others here find at "
    within(lambda: looking.says(**{ONE: said + gateway_mac()}))
    (entry,) = ip_json(f"neighbour show {OUTSIDE} dev {link_of(ONE)}", inside=f"qrouter-{ONE}")
    assert (entry["lladdr"], entry["state"]) == (WRONG_MAC, ["PERMANENT"])
    ip(f"neighbour delete {OUTSIDE} dev {link_of(ONE)}", inside=f"qrouter-{ONE}")
    within(looking.says)


def test_a_gateway_that_is_gone_for_all_is_held_against_none(looking: Looking) -> None:
    ip("link set ext0 down", inside="outside")
    lines: list[str] = []

    def is_said() -> bool:
        looking.look()
        lines.extend(looking.gateways.take_lines())
        return bool(lines)

    within(is_said)
    said = f"gateway {OUTSIDE} answers none of 3 unguarded routers here: is it down, or this host's way to it?"
    assert lines == [said]
    assert not any(looking.ailments.values())
    ip("link set ext0 up", inside="outside")
    lines.clear()
    within(is_said)
    assert lines == [f"gateway {OUTSIDE} answers routers here again"]


def test_nothing_is_said_of_a_router_that_is_not_there(looking: Looking) -> None:
    stranger = replace(looking.ways[0], router_id=RouterId("91111111-1111-4111-8111-111111111111"))
    without_link = replace(looking.ways[1], link="qg-nothing")
    assert look([stranger, without_link, looking.ways[2]]).keys() == {THREE}
    assert ip_json(f"link show {BRIDGE_OUT}")
