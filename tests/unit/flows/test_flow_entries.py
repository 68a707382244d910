"""One tracked connection as bytes, from messages as a kernel (6.18) made them."""

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.core.flows.feed import KEPT_S
from gapless.flows.entries import NFGEN, entry_of, flow_of, is_end, messages_in
from gapless.flows.follower import read
from gapless.kernel.netlink import attribute, attributes, nested
from gapless.wire.flows import Part, Section
from gapless.wire.messages import Malformed

ORIGINAL = (
    "34000180 1400018008000100 0a00000208000200 c6336409 1c00028005000100 0600000006000200 9b40000006000300 13890000"
)
REPLY = (
    "34000280 1400018008000100 c633640908000200 c6336401 1c00028005000100 0600000006000200 1389000006000300 9b400000"
)
PROTOCOL = "30000480 2c0001800500010003000000050002000a000000050003000a00000006000400230000000600050023000000"
STATUS, TIMEOUT, IDENTITY, MARK = "080003000000019e", "0800070000069780", "08000c009dc7ca1e", "0800080000000007"
NEW, DELETE = 0x100, 0x102


def message(*parts: str, kind: int = NEW, family: int = socket.AF_INET) -> bytes:
    """What a kernel says of a flow."""
    body = struct.pack("!BBH", family, 0, 0) + b"".join(bytes.fromhex(part) for part in parts)
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def established() -> bytes:
    return message(ORIGINAL, REPLY, IDENTITY, STATUS, TIMEOUT, PROTOCOL, MARK)


def in_tcp_state(state: int) -> bytes:
    return message(ORIGINAL, REPLY, STATUS, TIMEOUT, PROTOCOL.replace("0500010003", f"050001000{state}"))


def test_a_flow_is_named_by_its_original_direction() -> None:
    assert flow_of(established()) == bytes.fromhex(ORIGINAL)


def test_what_makes_it_elsewhere_has_both_directions_before_translation_and_the_translation_by_name() -> None:
    entry = entry_of(established())
    assert entry is not None
    made = attributes(entry.creation, len(NFGEN))
    assert made[1] == bytes.fromhex(ORIGINAL)[4:]
    turned = attributes(attributes(made[2])[1])
    assert (turned[1], turned[2]) == (bytes((198, 51, 100, 9)), bytes((10, 0, 0, 2)))
    ports = attributes(attributes(made[2])[2])
    assert (ports[2], ports[3]) == (bytes.fromhex("1389"), bytes.fromhex("9b40"))
    source = attributes(made[6])
    assert (source[1], source[2]) == (bytes((198, 51, 100, 1)),) * 2
    assert attributes(source[3]) == {1: bytes.fromhex("9b40"), 2: bytes.fromhex("9b40")}
    assert 13 not in made


def test_a_floating_ips_flow_is_translated_by_its_destination() -> None:
    outside = (
        "34000180 1400018008000100c633640908000200c6336407 1c000280050001000600000006000200 9b40000006000300 13890000"
    )
    inside = (
        "34000280 14000180080001000a00000208000200c6336409 1c000280050001000600000006000200 1389000006000300 9b400000"
    )
    entry = entry_of(message(outside, inside, "08000300000001ae", TIMEOUT, PROTOCOL))
    assert entry is not None
    made = attributes(entry.creation, len(NFGEN))
    assert attributes(made[13])[1] == bytes((10, 0, 0, 2))
    assert 6 not in made


def test_tcp_is_liberal_both_ways_and_keeps_its_scales() -> None:
    entry = entry_of(established())
    assert entry is not None
    tcp = attributes(attributes(attributes(entry.creation, len(NFGEN))[4])[1])
    assert (tcp[1], tcp[2], tcp[3]) == (b"\x03", b"\x0a", b"\x0a")
    assert (tcp[4], tcp[5]) == (b"\x0b\x0b", b"\x0b\x0b"), "window scale, SACK, liberal; and the mask that says so"


def test_mark_status_and_a_long_timeout_are_kept() -> None:
    entry = entry_of(established())
    assert entry is not None
    made = attributes(entry.creation, len(NFGEN))
    assert made[3] == bytes.fromhex("0000000e"), "confirmed, answered, assured; what was translated the kernel finds"
    assert made[7] == bytes.fromhex("00069780")
    assert made[8] == bytes.fromhex("00000007")


def test_helper_adjustments_and_whose_expectation_it_was_are_not_taken_over() -> None:
    helper, master, adjusted = nested(5, attribute(1, b"ftp\0")), nested(14, b""), nested(15, attribute(1, b"\0" * 4))
    plain = message(ORIGINAL, REPLY, STATUS, TIMEOUT, PROTOCOL)
    more = message(ORIGINAL, REPLY, STATUS, TIMEOUT, PROTOCOL, *(each.hex() for each in (helper, master, adjusted)))
    assert len(more) > len(plain)
    assert entry_of(more) == entry_of(plain)


def test_a_short_timeout_is_made_longer_than_two_refreshes() -> None:
    entry = entry_of(message(ORIGINAL, REPLY, STATUS, "0800070000000078", PROTOCOL))
    assert entry is not None
    assert attributes(entry.renewal, len(NFGEN))[7] == struct.pack(">I", KEPT_S)


def test_what_brings_it_up_to_date_does_not_name_the_translation_which_cannot_change() -> None:
    entry = entry_of(established())
    assert entry is not None
    assert not {2, 6, 13} & attributes(entry.renewal, len(NFGEN)).keys()


@pytest.mark.parametrize(("state", "is_over"), [(3, False), (4, False), (6, False), (7, True), (8, True)])
def test_a_flow_that_both_ends_closed_is_over(state: int, is_over: bool) -> None:
    said = in_tcp_state(state)
    entry = entry_of(said)
    assert entry is not None
    assert entry.is_over is is_end(said) is is_over


def test_a_flow_that_the_kernel_forgot_is_over() -> None:
    said = message(ORIGINAL, REPLY, IDENTITY, STATUS, kind=DELETE)
    entry = entry_of(said)
    assert entry is not None
    assert entry.is_over
    assert is_end(said)
    assert entry.flow == bytes.fromhex(ORIGINAL)


def test_of_sctp_the_state_and_both_tags_are_kept_as_they_are_and_of_udp_there_is_none() -> None:
    tuples = [
        [part.replace("05000100 06", f"05000100 {number}") for part in (ORIGINAL, REPLY)] for number in ("84", "11")
    ]
    tags = nested(3, attribute(1, b"\3"), attribute(2, b"\1\2\3\4"), attribute(3, b"\5\6\7\x08"))
    sctp = entry_of(message(*tuples[0], STATUS, TIMEOUT, nested(4, tags).hex()))
    udp = entry_of(message(*tuples[1], STATUS, TIMEOUT))
    assert sctp is not None
    assert udp is not None
    assert attributes(sctp.creation, len(NFGEN))[4] == tags
    assert 4 not in attributes(udp.creation, len(NFGEN))
    assert entry_of(message(*tuples[0], STATUS, TIMEOUT)) is None, "no kernel makes it without"


def test_a_zone_is_part_of_the_name() -> None:
    entry = entry_of(message(ORIGINAL, REPLY, attribute(18, b"\0\1").hex(), STATUS, TIMEOUT, PROTOCOL))
    assert entry is not None
    assert entry.flow == bytes.fromhex(ORIGINAL) + attribute(18, b"\0\1")


@pytest.mark.parametrize(
    "said",
    [
        message(ORIGINAL, REPLY, STATUS, TIMEOUT, PROTOCOL, family=socket.AF_INET6),
        message(ORIGINAL.replace("05000100 06", "05000100 01"), REPLY, STATUS, TIMEOUT),
        message(ORIGINAL),
        message(ORIGINAL, REPLY, TIMEOUT, PROTOCOL),
        message(ORIGINAL, REPLY, STATUS, PROTOCOL),
        message(ORIGINAL, REPLY, STATUS, TIMEOUT),
        message(ORIGINAL, REPLY, STATUS, TIMEOUT, PROTOCOL.replace("2c000180", "2c000280")),
    ],
    ids=["IPv6", "ICMP", "no reply", "no status", "no timeout", "no protocol", "unknown protocol"],
)
def test_what_is_not_known_is_not_kept(said: bytes) -> None:
    assert entry_of(said) is None


def test_messages_stand_one_behind_the_other() -> None:
    assert list(messages_in(established() * 3)) == [established()] * 3


@pytest.mark.parametrize("packed", [b"x", established()[:-1], b"\0" * 64, struct.pack("=I", 2**32 - 1) + b"\0" * 60])
def test_what_is_no_row_of_messages_is_refused(packed: bytes) -> None:
    with pytest.raises(ValueError, match="a message is"):
        list(messages_in(packed))


def heard(packed: bytes) -> str:
    """What becomes of what a peer said: its entries' bodies are made too, as they would be for the kernel."""
    try:
        for told in read([Section(0, Part.ENTRIES, packed)]):
            assert all(entry.is_over or (entry.creation and entry.renewal) for entry in told.entries)
    except Malformed:
        return "refused"
    return "taken"


@pytest.mark.parametrize("kind", [3, 7])
@pytest.mark.parametrize("value", [b"", b"\1", b"\0\0\1", b"\0" * 8])
def test_a_number_of_another_length_is_refused(kind: int, value: bytes) -> None:
    others = [part for part in (STATUS, TIMEOUT) if bytes.fromhex(part)[2] != kind]
    assert heard(message(ORIGINAL, REPLY, *others, attribute(kind, value).hex(), PROTOCOL)) == "refused"


@pytest.mark.parametrize("length", range(0, 48, 4))
def test_a_protocols_state_that_is_cut_short_is_not_kept(length: int) -> None:
    assert entry_of(message(ORIGINAL, REPLY, STATUS, TIMEOUT, attribute(4, bytes(length)).hex())) is None
    cut = attribute(4, bytes.fromhex(PROTOCOL)[4 : 4 + length]).hex()
    assert heard(message(ORIGINAL, REPLY, STATUS, TIMEOUT, cut)) == "taken"


@given(
    at=st.integers(0, 400),
    put=st.binary(max_size=12),
    cut=st.integers(0, 12),
    protocol=st.sampled_from(["06", "11", "84"]),
)
def test_whatever_a_peer_says_is_taken_or_refused(at: int, put: bytes, cut: int, protocol: str) -> None:
    said = message(
        *(part.replace("05000100 06", f"05000100 {protocol}") for part in (ORIGINAL, REPLY)),
        IDENTITY, STATUS, TIMEOUT, PROTOCOL, MARK, attribute(18, b"\0\1").hex(), attribute(22, b"labels").hex(),
    )  # fmt: skip
    odd = said[: at % len(said)] + put + said[at % len(said) + cut :]
    assert heard(odd) in {"taken", "refused"}
    assert heard(struct.pack("=I", len(odd)) + odd[4:] if len(odd) > 4 else odd) in {"taken", "refused"}
