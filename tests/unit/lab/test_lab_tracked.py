"""Which of the lab's connections two hosts know."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from gapless.lab.machines import linux
from gapless.lab.measuring import tracked
from gapless.lab.measuring.connections import PORT
from gapless.lab.measuring.tracked import Flow


def line(port: int, state: str = "ESTABLISHED", to: int = PORT) -> str:
    """As /proc/net/nf_conntrack has it."""
    there = f"src=10.0.0.5 dst=198.51.100.10 sport={port} dport={to}"
    back = f"src=198.51.100.10 dst=203.0.113.7 sport={to} dport={port}"
    return f"ipv4     2 tcp      6 431999 {state} {there} {back} [ASSURED] mark=0 zone=0 use=2"


@dataclass
class Machine:
    listed: dict[str, list[str]]

    def router_namespaces(self) -> dict[str, Path]:
        return {router_id: Path("\n".join(lines)) for router_id, lines in self.listed.items()}


@dataclass
class Host:
    machine: Machine


@pytest.fixture(autouse=True)
def listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A namespace's path is what its kernel would list."""
    monkeypatch.setattr(linux, "in_netns", lambda path, _: str(path))


def udp(port: int, answered: bool = True) -> str:
    there, back = f"src=10.0.0.5 dst=198.51.100.10 sport={port} dport={PORT}", f"sport={PORT} dport={port}"
    return f"ipv4     2 udp      17 119 {there} {'' if answered else '[UNREPLIED] '}src=x dst=y {back} mark=0 use=2"


WANTED = [
    (router, Flow(protocol, "10.0.0.5", port))
    for router in ("r1", "r2")
    for protocol in ("tcp", "udp")
    for port in (1, 2)
]


def copied(*hosts: dict[str, list[str]]) -> int:
    return tracked.copied([Host(Machine(each)) for each in hosts], WANTED)  # type: ignore[list-item]


def test_a_connection_that_two_hosts_know_is_copied() -> None:
    assert copied({"r1": [line(1), line(2)]}, {"r1": [line(2), line(1)]}, {"r2": [line(1)]}) == 2


def test_what_one_host_knows_from_another_time_stands_for_no_copy() -> None:
    assert copied({"r1": [line(1)]}, {"r1": [line(9)]}) == 0


def test_the_same_addresses_of_two_routers_are_two_connections() -> None:
    assert copied({"r1": [line(1)]}, {"r2": [line(1)]}) == 0


def test_what_is_over_or_is_not_the_labs_counts_nothing() -> None:
    others = [line(1, state="TIME_WAIT"), line(2, to=22), "ipv4     2 icmp     1 29 src=10.0.0.5 dst=198.51.100.10"]
    assert copied({"r1": others}, {"r1": others}) == 0


def test_udp_counts_once_it_was_answered_and_is_another_flow_than_tcp_of_the_same_ports() -> None:
    assert copied({"r1": [line(1), udp(1)]}, {"r1": [line(1), udp(1)]}) == 2
    assert copied({"r1": [udp(1, answered=False)]}, {"r1": [udp(1, answered=False)]}) == 0


def test_what_two_hosts_know_of_an_earlier_time_counts_nothing() -> None:
    assert copied({"r1": [udp(9)]}, {"r1": [udp(9)]}) == 0
