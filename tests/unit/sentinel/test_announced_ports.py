"""How a router's ports are announced."""

from ipaddress import IPv4Address, IPv4Interface

from gapless.model.network import Network, NetworkId, NetworkType, PortId
from gapless.model.router import FloatingIp, Gateway, Router, RouterId, RouterPort
from gapless.sentinel.beat.preparing import Port, ports_of

TENANT = Network(id=NetworkId("tenant-network"), type=NetworkType.VXLAN, mtu=1450, segmentation_id=100)
EXTERNAL = Network(id=NetworkId("external-network"), type=NetworkType.FLAT, mtu=1500, physical_network="external")
INSIDE = RouterPort(
    id=PortId("inside-port"), network=TENANT, mac="fa:16:3e:00:00:01", addresses=(IPv4Interface("10.0.0.1/24"),)
)
OUTSIDE = RouterPort(
    id=PortId("outside-port"), network=EXTERNAL, mac="fa:16:3e:00:00:02", addresses=(IPv4Interface("192.0.2.10/24"),)
)
ROUTER = Router(
    id=RouterId("router"),
    name="router",
    ports=(INSIDE,),
    gateway=Gateway(port=OUTSIDE, next_hop=None, snat=True),
    floating_ips=(FloatingIp(id="f", address=IPv4Address("192.0.2.20"), fixed_address=IPv4Address("10.0.0.5")),),
)


def test_the_gateway_comes_first_with_its_floating_addresses() -> None:
    assert ports_of(ROUTER, {"external": "eth1"}) == (
        Port(
            link="qg-outside-por",
            mac=OUTSIDE.mac,
            addresses=(IPv4Address("192.0.2.10"), IPv4Address("192.0.2.20")),
            bridge="brqexternal-ne",
            way_out="eth1",
        ),
        Port(
            link="qr-inside-port",
            mac=INSIDE.mac,
            addresses=(IPv4Address("10.0.0.1"),),
            bridge="brqtenant-netw",
            way_out="vxlan-100",
        ),
    )


def test_a_network_that_the_host_does_not_have_is_left_out() -> None:
    assert [port.way_out for port in ports_of(ROUTER, {})] == ["vxlan-100"]
