"""What a host says of its ways out, by the names that all hosts use."""

from ipaddress import IPv4Address

from gapless.model.way import WayOut, WaysSaid
from gapless.sentinel.waysout import NAMED_MOST, said

NETWORKS = {"eth1": "external", "eth2": "other"}
GATEWAY = IPv4Address("203.0.113.1")


def test_interfaces_are_named_by_their_networks() -> None:
    lost, unsure = {("eth1", GATEWAY), ("eth1", None)}, {("eth2", None)}
    ways = said(NETWORKS, watched=lost | unsure, lost=lost, unsure=unsure)
    assert ways == WaysSaid(lost=(WayOut("external"), WayOut("external", GATEWAY)), unsure=(WayOut("other"),))


def test_a_thousand_gateways_do_not_make_a_message_that_fits_nowhere() -> None:
    many = {("eth1", GATEWAY + number) for number in range(2 * NAMED_MOST)} | {("eth2", None)}
    ways = said(NETWORKS, watched=many, lost=many, unsure=())
    assert len(ways.lost) == NAMED_MOST
    assert WayOut("other") in ways.lost


def test_gateways_that_answer_are_named_and_carriers_are_not() -> None:
    silent, unknown, there = (("eth1", GATEWAY + number) for number in range(3))
    watched = {silent, unknown, there, ("eth1", None), ("eth2", None)}
    ways = said(NETWORKS, watched=watched, lost={silent}, unsure={unknown})
    assert ways.there == (WayOut("external", GATEWAY + 2),)
