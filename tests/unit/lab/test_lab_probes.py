"""What a gap is, to the nanosecond; and that a recording is read as it was written."""

from array import array
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from gapless.lab.lab import Lab
from gapless.lab.measuring import probes
from gapless.lab.measuring.probes import Direction, Flow, Header, Recording, Track
from gapless.lab.settings import LabSettings
from gapless.lab.tenants import Tenant, probed

MS = 1_000_000
FLOW = Flow(router_id="r1", direction=Direction.OUT, netns="vm-1", source="192.168.10.3", target="198.51.100.10")


def test_with_everything_answered_the_gap_is_the_interval() -> None:
    gap = probes.gap([10 * MS, 20 * MS, 30 * MS], 0, 40 * MS)
    assert gap.ms == 10


def test_the_gap_is_the_longest_stretch_between_two_replies() -> None:
    gap = probes.gap([10 * MS, 20 * MS, 0, 0, 520 * MS, 530 * MS], 0, 540 * MS)
    assert (gap.begin_ns, gap.end_ns) == (20 * MS, 520 * MS)


def test_a_reply_that_was_held_up_ends_the_gap_when_it_arrives() -> None:
    """The second request was answered after the third and fourth were."""
    gap = probes.gap([10 * MS, 600 * MS, 510 * MS, 520 * MS], 0, 610 * MS)
    assert gap.ms == 500


def test_no_reply_at_all_is_a_gap_of_the_whole_time() -> None:
    assert probes.gap([0, 0, 0], 5 * MS, 905 * MS).ms == 900


def test_the_silence_before_the_first_and_after_the_last_reply_counts() -> None:
    assert probes.gap([300 * MS], 0, 400 * MS).ms == 300
    assert probes.gap([100 * MS], 0, 400 * MS).ms == 300


def test_replies_outside_the_measured_time_do_not_count() -> None:
    assert probes.gap([50 * MS, 150 * MS, 450 * MS], 100 * MS, 400 * MS).ms == 250


def test_a_skipped_request_is_neither_sent_nor_lost() -> None:
    track = Track(FLOW, sent=[1, 0, 3, 4], replied=[2, 0, 0, 5])
    recording = Recording(tracks=(track,), interval_ms=10, begin_ns=0, end_ns=10, lateness_ms=0)
    assert recording.sent == 3
    assert recording.lost == 1


def wait_ms(sent: list[int], replied: list[int], end: int = 100) -> float:
    track = Track(FLOW, [at * MS for at in sent], [at * MS for at in replied])
    recording = Recording(tracks=(track,), interval_ms=10, begin_ns=0, end_ns=end * MS, lateness_ms=0)
    return recording.waits_ms()["r1"]


def test_the_wait_is_from_a_request_that_was_lost_to_the_next_reply() -> None:
    assert wait_ms([10, 20, 30, 40], [11, 0, 0, 41]) == 21
    assert wait_ms([10, 20, 30], [11, 21, 31]) == 1, "the way there and back"


def test_a_request_that_is_held_up_waits_for_its_own_reply_or_a_later_ones() -> None:
    assert wait_ms([10, 20, 30], [11, 28, 31]) == 8
    assert wait_ms([10, 20, 30], [11, 95, 31]) == 11


def test_a_sender_that_is_late_lengthens_the_gap_and_not_the_wait() -> None:
    assert probes.gap([11 * MS, 61 * MS], 0, 70 * MS).ms == 50
    assert wait_ms([10, 0, 60], [11, 0, 61]) == 1


def test_what_is_never_answered_again_waits_to_the_end() -> None:
    assert wait_ms([10, 20, 30], [11, 0, 0], end=100) == 80


def test_many_probes_are_sent_less_often() -> None:
    assert probes.interval_ms_for(2) == 10
    assert probes.interval_ms_for(100) == 10
    assert probes.interval_ms_for(200) == 20


def test_percentiles_are_of_the_values_themselves() -> None:
    values = [float(n) for n in range(1, 101)]
    assert probes.percentile(values, 0.5) == 50
    assert probes.percentile(values, 0.99) == 99
    assert probes.percentile([7.0], 0.99) == 7
    assert probes.percentile([], 0.5) == 0


def test_a_recording_is_read_as_it_was_written(tmp_path: Path) -> None:
    header = Header(flows=(FLOW,), slots=(3,), interval_ms=10, begin_ns=100, end_ns=200, lateness_ms=1.5)
    with (tmp_path / "recording").open("wb") as file:
        probes.write(file, header, [array("q", [101, 111, 0]), array("q", [102, 0, 0])])
    read = probes.read(tmp_path / "recording")
    assert read.tracks[0].flow == FLOW
    assert list(read.tracks[0].sent) == [101, 111, 0]
    assert list(read.tracks[0].replied) == [102, 0, 0]
    assert (read.begin_ns, read.end_ns, read.lateness_ms) == (100, 200, 1.5)


def test_a_recording_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    header = Header(flows=(FLOW,), slots=(3,), interval_ms=10, begin_ns=100, end_ns=200, lateness_ms=0)
    with (tmp_path / "recording").open("wb") as file:
        probes.write(file, header, [array("q", [101, 111, 0]), array("q", [102])])
    with pytest.raises(EOFError):
        probes.read(tmp_path / "recording")


def tenant(number: int) -> Tenant:
    address = IPv4Address(number)
    return Tenant(
        number=number,
        router_id=f"r{number}",
        router_name="",
        network_id="",
        vni=number,
        mtu=1450,
        vm_port_id="",
        vm_mac="",
        vm_addresses=(address, address),
        subnet_gateway=address,
        gateway_address=address,
        floating_address=address,
    )


def test_of_many_routers_a_sample_is_probed_in_both_directions() -> None:
    few, many = [tenant(n) for n in range(100)], [tenant(n) for n in range(1000)]
    assert {(flow.router_id, flow.direction) for flow in probed(few)} == {
        (f"r{n}", direction) for n in range(100) for direction in Direction
    }
    assert [flow.router_id for flow in probed(many)] == [f"r{n}" for n in range(0, 1000, 10)]
    assert [flow.direction for flow in probed(many)] == [Direction.OUT, Direction.IN] * 50


def test_all_of_a_hundred_can_be_probed_in_one_direction_each_so_that_each_10_ms_is_bearable() -> None:
    flows = probed([tenant(n) for n in range(100)], one_way=True)
    assert [flow.router_id for flow in flows] == [f"r{n}" for n in range(100)]
    assert [flow.direction for flow in flows] == [Direction.OUT, Direction.IN] * 50
    assert probes.interval_ms_for(len(flows)) == 10
    assert [flow.router_id for flow in probed([tenant(n) for n in range(30)], 10, one_way=True)] == [
        f"r{n}" for n in range(0, 30, 3)
    ]


@pytest.mark.parametrize(("one_way", "interval_ms"), [(False, 20), (True, 10)])
def test_a_lab_probes_as_finely_as_its_directions_allow(one_way: bool, interval_ms: float) -> None:
    lab = Lab(LabSettings(routers=100, one_way=one_way))
    lab.tenants += [tenant(n) for n in range(100)]
    assert lab.interval_ms == interval_ms
