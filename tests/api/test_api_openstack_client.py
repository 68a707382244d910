"""The judge: the unmodified `openstack` client, against the real application on a loopback port.

The client takes a second to start, so commands that belong together run in one process, read from its standard input.
"""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from api_fakes import FakeControls, add_host, bind
from httpx import AsyncClient

from gapless.controller.store.engine import Store
from gapless.model.host import HostName

CLIENT = Path(sys.executable).with_name("openstack")
PATIENCE_S = 120
NOBODY = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True)
class Said:
    """What the client printed: the JSON documents, and its complaints."""

    answers: list[Any]
    complaints: str
    status: int


class Client:
    """The `openstack` command of somebody whose cloud is at `endpoint`."""

    def __init__(self, endpoint: str, home: Path) -> None:
        clean = {key: value for key, value in os.environ.items() if not key.startswith("OS_")}
        self._environment = clean | {"OS_AUTH_TYPE": "none", "OS_ENDPOINT": endpoint, "HOME": str(home)}

    async def run(self, *arguments: str) -> Said:
        """One command."""
        return await self._run(arguments, "")

    async def batch(self, commands: str) -> Said:
        """Several commands in one process; a complaint does not stop those that follow."""
        return await self._run((), "".join(f"{line.strip()}\n" for line in commands.strip().splitlines()))

    async def _run(self, arguments: tuple[str, ...], typed: str) -> Said:
        process = await asyncio.create_subprocess_exec(
            CLIENT,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
        )
        try:
            async with asyncio.timeout(PATIENCE_S):
                printed, complained = await process.communicate(typed.encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        return Said(_documents(printed.decode()), complained.decode(), process.returncode)


def _documents(printed: str) -> list[Any]:
    """The JSON documents in what commands with `-f json` printed one after another."""
    decoder, found, rest = json.JSONDecoder(), [], printed.strip()
    while rest:
        document, end = decoder.raw_decode(rest)
        found.append(document)
        rest = rest[end:].strip()
    return found


@pytest.fixture
def openstack(served: str, tmp_path: Path) -> Client:
    return Client(served, tmp_path)


SETTING_UP = """
    network create --external --provider-network-type flat --provider-physical-network external public -f json
    subnet create --network public --subnet-range 203.0.113.0/24 --gateway 203.0.113.1 --no-dhcp
        --allocation-pool start=203.0.113.10,end=203.0.113.99 public-v4 -f json
    network create --mtu 1400 blue -f json
    subnet create --network blue --subnet-range 10.0.0.0/24 --dns-nameserver 203.0.113.53
        --host-route destination=10.7.0.0/16,gateway=10.0.0.7 blue-v4 -f json
    network create green -f json
    subnet create --network green --subnet-range 10.1.0.0/24 --gateway none green-v4 -f json
    router create --availability-zone-hint nova edge -f json
    router set --external-gateway public edge
    router add subnet edge blue-v4
    port create --network green --fixed-ip subnet=green-v4,ip-address=10.1.0.1 green-door -f json
    router add port edge green-door
    port create --network blue --fixed-ip subnet=blue-v4,ip-address=10.0.0.10 --device-owner compute:nova
        --host compute1 vm1 -f json
    port create --network green vm2 -f json
    floating ip create --port vm1 --floating-ip-address 203.0.113.50 public -f json
""".replace("\n        ", " ")


async def test_an_operators_day(openstack: Client, store: Store, controls: FakeControls, api: AsyncClient) -> None:
    host1 = await add_host(store, "host1")
    controls.know("host1")

    made = await openstack.batch(SETTING_UP)
    assert made.complaints == ""
    public, public_v4, blue, blue_v4, _, green_v4, edge, door, vm1, vm2, floating = made.answers
    assert (public["router:external"], public["provider:physical_network"], public["mtu"]) == (True, "external", 1500)
    assert public_v4["allocation_pools"] == [{"start": "203.0.113.10", "end": "203.0.113.99"}]
    assert (blue["mtu"], blue["provider:network_type"]) == (1400, "vxlan")
    assert (blue_v4["gateway_ip"], blue_v4["dns_nameservers"]) == ("10.0.0.1", ["203.0.113.53"])
    assert blue_v4["host_routes"] == [{"destination": "10.7.0.0/16", "nexthop": "10.0.0.7"}]
    assert green_v4["gateway_ip"] is None
    assert edge["availability_zone_hints"] == ["nova"]
    assert door["fixed_ips"] == [{"subnet_id": green_v4["id"], "ip_address": "10.1.0.1"}]
    assert (vm1["binding_host_id"], vm1["status"], vm2["status"]) == ("compute1", "ACTIVE", "DOWN")
    assert (floating["fixed_ip_address"], floating["router_id"]) == ("10.0.0.10", edge["id"])
    assert {event[0] for event in controls.told} == {"routers_changed"}
    assert all(event[1] == (edge["id"],) for event in controls.told)

    await bind(store, edge["id"], "host1")
    seen = await openstack.batch(
        f"""
        router show edge -f json
        router set --external-gateway public --disable-snat edge
        router set --route destination=10.9.0.0/16,gateway=10.0.0.10 edge
        router add route --route destination=10.8.0.0/16,gateway=10.0.0.10 edge -f json
        router unset --route destination=10.9.0.0/16,gateway=10.0.0.10 edge
        router show edge -f json
        floating ip set --port vm2 203.0.113.50
        floating ip show 203.0.113.50 -f json
        floating ip unset --port 203.0.113.50
        floating ip list -f json
        network list --external -f json
        network list --name blue --name green -f json
        subnet list --network blue -f json
        port list --router edge --long -f json
        port list --fixed-ip subnet=blue-v4,ip-address=10.0.0.10 -f json
        port list --limit 2 -f json
        network agent list --router edge -f json
        network agent list --agent-type l3 --host host1 -f json
        router list --agent {host1} -f json
        availability zone list --network -f json
        extension show l3_agent_scheduler -f json
        """
    )
    assert seen.complaints == ""
    answers = iter(seen.answers)
    shown = next(answers)
    assert shown["external_gateway_info"]["enable_snat"] is True
    assert {each["ip_address"] for each in shown["interfaces_info"]} == {"10.0.0.1", "10.1.0.1"}
    assert len(next(answers)["routes"]) == 2
    shown = next(answers)
    assert shown["external_gateway_info"]["enable_snat"] is False
    assert shown["routes"] == [{"destination": "10.8.0.0/16", "nexthop": "10.0.0.10"}]
    assert next(answers)["port_id"] == vm2["id"]
    assert [each["Port"] for each in next(answers)] == [None]
    assert [each["Name"] for each in next(answers)] == ["public"]
    assert next(answers)[0]["Name"] in ("blue", "green")
    assert [each["Name"] for each in next(answers)] == ["blue-v4"]
    owners = {each["Device Owner"] for each in next(answers)}
    assert owners == {"network:router_gateway", "network:router_interface"}
    assert [each["Name"] for each in next(answers)] == ["vm1"]
    assert len(next(answers)) == 6, "two a page, and the client follows the links"
    assert [each["Host"] for each in next(answers)] == ["host1"]
    assert [(each["ID"], each["Alive"]) for each in next(answers)] == [(host1, True)]
    assert [each["Name"] for each in next(answers)] == ["edge"]
    assert next(answers) == [{"Zone Name": "nova", "Zone Status": "available"}]
    assert next(answers)["alias"] == "l3_agent_scheduler"

    gone = await openstack.batch(
        """
        floating ip delete 203.0.113.50
        port delete vm1 vm2
        router unset --external-gateway --route destination=10.8.0.0/16,gateway=10.0.0.10 edge
        router remove subnet edge blue-v4
        router remove port edge green-door
        router delete edge
        subnet delete blue-v4 green-v4
        network delete blue green public
        """
    )
    assert gone.complaints == ""
    for collection in ("networks", "subnets", "ports", "routers", "floatingips"):
        assert (await api.get(f"/v2.0/{collection}")).json() == {collection: []}
    assert controls.told[-1] == ("router_deleted", edge["id"])


async def test_complaints_name_what_is_wrong(openstack: Client) -> None:
    said = await openstack.batch(
        """
        network create n1 -f json
        subnet create --network n1 --subnet-range 10.0.0.0/30 s1 -f json
        subnet create --network n1 --subnet-range 10.0.0.0/24 overlapping
        subnet create --network n1 --subnet-range fd00::/64 --ip-version 6 six
        network create n2 -f json
        subnet create --network n2 --subnet-range 10.0.0.0/24 s2 -f json
        router create r1 -f json
        router add subnet r1 s1
        router add subnet r1 s2
        port create --network n1 p1 -f json
        port create --network n1 p2
        network delete n1
        router delete r1
        port create --network n2 --mac-address 00:00 p3
        port create --network n2 --fixed-ip ip-address=10.9.9.9 p4
        floating ip create n2
        router create --distributed r2
        network create --provider-network-type vlan --provider-physical-network external n3
        """
    )
    assert len(said.answers) == 6, said.answers
    complaints = iter(said.complaints.splitlines())
    for expected in (
        "overlaps with another subnet",
        "'fd00::/64' is an IPv6 network, and only IPv4 is supported",
        "overlaps with cidr 10.0.0.0/30",
        "No more IP addresses available on network",
        "There are one or more ports still in use on the network",
        "1 of 1 networks failed to delete",
        "has ports still attached",
        "1 of 1 routers failed to delete",
        "'00:00' is not a valid MAC address",
        "IP address 10.9.9.9 is not a valid IP for any of the subnets on the specified network",
        "is not a valid external network",
        "a distributed router is not supported",
        "vlan is not in ['vxlan', 'flat']",
    ):
        assert expected in next(complaints)
    assert next(complaints, None) is None


async def test_one_command_tells_success_by_its_status(openstack: Client) -> None:
    assert await openstack.run("network", "list", "-f", "json") == Said(answers=[[]], complaints="", status=0)
    missing = await openstack.run("network", "show", "nothing")
    assert (missing.status, missing.complaints.strip()) == (1, "No Network found for nothing")


async def test_agents_and_their_routers(
    openstack: Client, store: Store, controls: FakeControls, api: AsyncClient
) -> None:
    host1, host2 = await add_host(store, "host1"), await add_host(store, "host2")
    controls.know("host2")
    edge = (await api.post("/v2.0/routers", json={"router": {"name": "edge"}})).json()["router"]["id"]
    await bind(store, edge, "host1")
    controls.told.clear()

    said = await openstack.batch(
        f"""
        network agent show {host1} -f json
        network agent add router --l3 {host2} edge
        network agent remove router --l3 {host1} edge
        network agent set --disable --description fan {host2}
        network agent list -f json
        network agent show {NOBODY}
        network agent delete {host2}
        network agent delete {host1}
        """
    )
    shown, listed = said.answers
    assert (shown["host"], shown["configuration"]["routers"], shown["alive"]) == ("host1", 1, False)
    assert {each["Host"]: each["State"] for each in listed} == {"host1": True, "host2": False}
    assert controls.told == [
        ("move_requested", edge, "host2"),
        ("move_requested", edge, None),
        ("host_admin_changed", "host2", False),
    ]
    complaints = said.complaints.splitlines()
    assert f"Agent {NOBODY} could not be found" in complaints[0]
    assert "host host2 is alive" in complaints[1]
    assert "still bound to host host1" in complaints[3]


async def test_the_client_keeps_quiet_about_a_refused_move(
    openstack: Client, store: Store, controls: FakeControls, api: AsyncClient
) -> None:
    """Why adding a router to an agent moves it instead of refusing as Neutron does: nobody would see the refusal."""
    host2 = await add_host(store, "host2")
    controls.know("host2")
    controls.objecting[HostName("host2")] = "is full (10 of 10)"
    await api.post("/v2.0/routers", json={"router": {"name": "edge"}})
    controls.told.clear()
    said = await openstack.run("network", "agent", "add", "router", "--l3", host2, "edge")
    assert (said.status, said.complaints) == (0, "")
    assert not controls.told
