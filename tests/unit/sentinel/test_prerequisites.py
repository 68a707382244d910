"""What a machine must offer: each thing that is missing has its own line."""

from pathlib import Path

import pytest

from gapless.config import HostSettings
from gapless.errors import InvalidRequest, Unavailable
from gapless.sentinel import prerequisites

SETTINGS = HostSettings(name="net1", state_dir=Path("/s"), key_file=Path("/k"))


@pytest.mark.parametrize(
    ("effective", "missing"),
    [
        ("0000000000000000", "CAP_NET_BROADCAST, CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN"),
        ("0000000000203800", None),
        ("000001ffffffffff", None),
        ("0000000000201800", "CAP_NET_RAW"),
        ("0000000000003800", "CAP_SYS_ADMIN"),
        ("0000000000203000", "CAP_NET_BROADCAST"),
    ],
)
def test_privileges(effective: str, missing: str | None) -> None:
    status = f"Name:\tgapless\nCapInh:\t0000000000000000\nCapEff:\t{effective}\nCapBnd:\t000001ffffffffff\n"
    if missing is None:
        prerequisites._check_privileges(status)
        return
    with pytest.raises(Unavailable, match=rf"needs the capabilities {missing} to"):
        prerequisites._check_privileges(status)


def test_a_machine_without_nftables() -> None:
    with pytest.raises(Unavailable, match="install the package libnftables1"):
        prerequisites._check_nftables("libnftables-that-is-not-there.so.1")


@pytest.mark.parametrize("interface", ["gapless-none", "x" * 40, "../../etc", ""])
def test_an_interface_that_is_not_there(interface: str) -> None:
    with pytest.raises(InvalidRequest, match="has no interface"):
        prerequisites.data_address(interface)


def test_the_endpoint_is_the_interfaces_first_address() -> None:
    assert str(prerequisites.data_address("lo")) == "127.0.0.1"


def test_a_neighbour_table_that_is_too_small_is_named_with_what_helps(tmp_path: Path) -> None:
    limit = tmp_path / "gc_thresh3"
    limit.write_text("1024\n")
    assert prerequisites.neighbours_short_of(487, limit) is None
    said = prerequisites.neighbours_short_of(488, limit)
    assert said is not None
    assert said.startswith(
        "488 routers (--capacity) need a neighbour table of 1026 entries and one more for each further"
    )
    assert "this machine's has 1024" in said
    assert said.endswith("sysctl -w net.ipv4.neigh.default.gc_thresh3=4104 net.ipv4.neigh.default.gc_thresh2=2052")


@pytest.mark.parametrize("content", [None, "", "many"])
def test_of_a_neighbour_table_that_cannot_be_read_nothing_is_said(tmp_path: Path, content: str | None) -> None:
    """As inside of a lab, where the machine's own limit cannot be seen."""
    limit = tmp_path / "gc_thresh3"
    if content is not None:
        limit.write_text(content)
    assert prerequisites.neighbours_short_of(1_000_000, limit) is None


@pytest.mark.parametrize(("content", "is_said"), [("1\n", True), ("0\n", False), ("maybe", False), (None, False)])
def test_a_machine_that_filters_what_its_bridges_carry_is_named_with_what_helps(
    tmp_path: Path, content: str | None, is_said: bool
) -> None:
    setting = tmp_path / "bridge-nf-call-iptables"
    if content is not None:
        setting.write_text(content)
    said = prerequisites.bridges_filtered(setting)
    assert (said is not None) is is_said
    assert said is None or "sysctl -w net.bridge.bridge-nf-call-iptables=0" in said


def test_a_table_of_connections_that_holds_less_than_may_be_copied_is_named_with_what_helps() -> None:
    assert prerequisites.tracking_short_of(65_536, 65_536) is None
    assert prerequisites.tracking_short_of(65_536, None) is None
    said = prerequisites.tracking_short_of(65_536, 32_768)
    assert said is not None
    assert said.startswith("65536 connections of a router may be copied here (--flows-most)")
    assert "tracks 32768 of one at most" in said
    assert said.endswith("sysctl -w net.netfilter.nf_conntrack_max=262144")
