"""Datagrams of the lease on the wire: what is sealed is opened as it was, once, and only by whom it is for."""

import hmac
from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.model.host import MACHINE_STEP, HostName, Incarnation
from gapless.model.lease import Datagram, DatagramKind, PanelVersion, Tenure
from gapless.model.router import RouterId
from gapless.wire.lease import DATAGRAM_BYTES, TAG_BYTES, Dropped, Envelope, Fault, Outrun

KEY = bytes(range(32))
A, B, C = HostName("a"), HostName("b"), HostName("c" * 255)


def envelope(me: HostName, *, key: bytes = KEY, cluster: str = "cloud", zone: str = "nova") -> Envelope:
    made = Envelope(key, cluster, zone, me)
    made.know([A, B, C])
    return made


def datagram(kind: DatagramKind = DatagramKind.RENEW, incarnation: int = 1, seq: int = 1) -> Datagram:
    sender = Tenure(A, Incarnation(incarnation))
    return Datagram(kind=kind, sender=sender, panel=PanelVersion(1), lease_s=0.2, subject=sender, seq=seq)


def fault(opener: Envelope, raw: bytes) -> Fault:
    with pytest.raises(Dropped) as dropped:
        opener.open(raw)
    return dropped.value.fault


numbers = st.integers(min_value=0, max_value=2**64 - 1)
incarnations = numbers.map(Incarnation)
times = st.integers(min_value=0, max_value=2**32 - 1).map(lambda microseconds: microseconds / 1e6)


@given(
    kind=st.sampled_from([kind for kind in DatagramKind if kind is not DatagramKind.RELEASED]),
    sender=incarnations,
    subject=st.builds(Tenure, st.sampled_from([A, B, C]), incarnations),
    panel=numbers.map(PanelVersion),
    seq=numbers,
    asker=incarnations,
    lease_s=times,
    silent_for_s=times,
)
def test_what_is_opened_is_what_was_sealed(
    kind: DatagramKind,
    sender: Incarnation,
    subject: Tenure,
    panel: PanelVersion,
    seq: int,
    asker: Incarnation,
    lease_s: float,
    silent_for_s: float,
) -> None:
    sent = Datagram(
        kind=kind,
        sender=Tenure(A, sender),
        panel=panel,
        lease_s=lease_s,
        subject=subject,
        seq=seq,
        asker=asker,
        silent_for_s=silent_for_s,
    )
    raw = envelope(A).seal(B, sent)
    assert len(raw) == DATAGRAM_BYTES == 144
    assert envelope(B).open(raw) == sent


@given(router=st.uuids(), subject=incarnations, epoch=numbers)
def test_a_router_is_released_to_whom_the_datagram_is_for(router: UUID, subject: Incarnation, epoch: int) -> None:
    plain = datagram(DatagramKind.RELEASED, seq=epoch)
    sent = replace(plain, subject=Tenure(B, subject), router=RouterId(str(router)))
    raw = envelope(A).seal(B, sent)
    assert len(raw) == DATAGRAM_BYTES
    assert envelope(B).open(raw) == sent
    assert fault(envelope(C), raw) is Fault.FOREIGN


@given(st.binary(max_size=2 * DATAGRAM_BYTES))
def test_whatever_is_not_ours_is_dropped(raw: bytes) -> None:
    assert fault(envelope(B), raw) is Fault.MALFORMED
    padded = b"GL\x01\x01" + raw[:140].ljust(140, b"\0")
    assert fault(envelope(B), padded) is Fault.FORGED


@given(st.integers(min_value=0, max_value=8 * DATAGRAM_BYTES - 1))
def test_a_single_changed_bit_makes_it_nobodys(bit: int) -> None:
    raw = bytearray(envelope(A).seal(B, datagram()))
    raw[bit // 8] ^= 1 << bit % 8
    assert fault(envelope(B), bytes(raw)) in (Fault.MALFORMED, Fault.FORGED)


def test_sizes_around_the_right_one() -> None:
    raw = envelope(A).seal(B, datagram())
    assert {fault(envelope(B), wrong) for wrong in (raw[:-1], raw + b"\0", b"")} == {Fault.MALFORMED}


def test_another_version_is_not_read() -> None:
    raw = envelope(A).seal(B, datagram())
    assert fault(envelope(B), raw[:2] + b"\x02" + raw[3:]) is Fault.MALFORMED


def test_the_tag_is_an_hmac_as_everybody_else_computes_it() -> None:
    """Hosts of other versions look at it, too."""
    raw = envelope(A).seal(B, datagram())
    key = hmac.digest(KEY, b"gapless lease datagrams", "sha256")
    assert raw[-TAG_BYTES:] == hmac.digest(key, raw[:-TAG_BYTES], "sha256")[:TAG_BYTES]


def test_another_key_is_a_forgery() -> None:
    assert fault(envelope(B), envelope(A, key=bytes(32)).seal(B, datagram())) is Fault.FORGED


def test_another_zone_cluster_or_receiver_is_foreign() -> None:
    for sealed in (
        envelope(A, zone="other").seal(B, datagram()),
        envelope(A, cluster="other").seal(B, datagram()),
        envelope(A).seal(C, datagram()),
    ):
        assert fault(envelope(B), sealed) is Fault.FOREIGN


def test_a_host_of_the_same_name_is_not_this_one() -> None:
    assert fault(envelope(A), envelope(A).seal(A, datagram())) is Fault.FOREIGN


def test_who_is_not_known_is_not_heard_until_it_is() -> None:
    opener = Envelope(KEY, "cloud", "nova", B)
    raw = envelope(A).seal(B, datagram())
    assert fault(opener, raw) is Fault.UNKNOWN
    opener.know([A])
    assert opener.open(raw) == datagram()


def test_nothing_is_sealed_for_who_is_not_known() -> None:
    with pytest.raises(KeyError):
        Envelope(KEY, "cloud", "nova", A).seal(B, datagram())


def test_each_is_taken_once_and_none_after_a_later_one() -> None:
    sender, opener = envelope(A), envelope(B)
    first, second, third = (sender.seal(B, datagram(seq=seq)) for seq in (1, 2, 3))
    assert opener.open(first).seq == 1
    assert fault(opener, first) is Fault.REPLAYED
    assert opener.open(third).seq == 3
    assert fault(opener, second) is Fault.REPLAYED, "it was overtaken: for the protocol it is lost"


def test_a_new_life_of_the_sender_counts_anew_and_ends_the_old_one() -> None:
    old, opener = envelope(A), envelope(B)
    late = [old.seal(B, datagram(incarnation=1, seq=seq)) for seq in range(100)][-1]
    again = envelope(A).seal(B, datagram(incarnation=2, seq=1))
    assert opener.open(again).sender.incarnation == 2
    assert fault(opener, late) is Fault.REPLAYED


def test_senders_do_not_count_for_each_other() -> None:
    opener, sender = envelope(B), Tenure(C, Incarnation(9))
    opener.open(envelope(C).seal(B, replace(datagram(), sender=sender, subject=sender)))
    assert opener.open(envelope(A).seal(B, datagram())).sender.host == A


def test_times_are_cut_to_what_fits() -> None:
    raw = envelope(A).seal(B, replace(datagram(), silent_for_s=1e9))
    assert envelope(B).open(raw).silent_for_s == (2**32 - 1) / 1e6


def test_an_heir_says_to_whom_it_may_succeed_and_how_many_routers() -> None:
    heir = replace(datagram(DatagramKind.HEIR, seq=1000), subject=Tenure(B, Incarnation(7)))
    raw = envelope(A).seal(B, heir)
    assert raw[3] == DatagramKind.HEIR == 9, "a number on the wire is never given anew"
    assert int.from_bytes(raw[76:84]) == 7
    assert int.from_bytes(raw[100:108]) == 1000
    opened = envelope(B).open(raw)
    assert (opened.kind, opened.sender.host, opened.subject, opened.seq) == (
        DatagramKind.HEIR,
        A,
        Tenure(B, Incarnation(7)),
        1000,
    )


def test_a_kind_that_is_none_is_malformed() -> None:
    strange = replace(datagram(), kind=max(DatagramKind) + 1)
    assert fault(envelope(B), envelope(A).seal(B, strange)) is Fault.MALFORMED


def test_a_renewal_of_a_lower_incarnation_is_told_and_of_an_equal_one_only_dropped() -> None:
    opener = envelope(B)
    sent = [envelope(A).seal(B, datagram(incarnation=each)) for each in (5, 9)]
    opener.open(sent[1])
    with pytest.raises(Outrun) as outrun:
        opener.open(sent[0])
    assert (outrun.value.sender, outrun.value.highest) == (Tenure(A, Incarnation(5)), 9)
    assert outrun.value.fault is Fault.REPLAYED
    with pytest.raises(Dropped) as dropped:
        opener.open(sent[1])
    assert not isinstance(dropped.value, Outrun)


@pytest.mark.parametrize(
    ("kind", "later"), [(DatagramKind.GRANT, 9), (DatagramKind.CLAIM, 9), (DatagramKind.RENEW, MACHINE_STEP + 1)]
)
def test_nothing_else_of_a_lower_incarnation_is_told(kind: DatagramKind, later: int) -> None:
    """What another machine of the name sends, which may still run, is none of a restored disk."""
    opener = envelope(B)
    opener.open(envelope(A).seal(B, datagram(incarnation=later)))
    with pytest.raises(Dropped) as dropped:
        opener.open(envelope(A).seal(B, datagram(kind=kind, incarnation=5)))
    assert not isinstance(dropped.value, Outrun)
