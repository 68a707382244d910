"""Netlink messages, and a kernel that does not answer."""

from collections.abc import Iterator

import pytest

from gapless.errors import Unavailable
from gapless.kernel import netlink
from gapless.kernel.netlink import Lent, Netlink, Request


def test_attributes_are_padded_and_found_again() -> None:
    packed = netlink.text(3, "abc12") + netlink.u32(4, 1450) + netlink.nested(18, netlink.u8(1, 7))
    assert len(packed) % 4 == 0
    found = netlink.attributes(packed)
    assert netlink.as_text(found[3]) == "abc12"
    assert netlink.as_u32(found[4]) == 1450
    assert netlink.attributes(found[18]) == {1: b"\x07"}


def test_of_many_attributes_only_those_of_some_types_are_kept() -> None:
    packed = netlink.u32(4, 1) + netlink.u32(5, 3) + netlink.nested(18, netlink.u8(1, 7)) + netlink.u32(6, 2)
    kept = {4: b"\1\0\0\0", 18: netlink.u8(1, 7)}
    assert netlink.attributes(packed, only=frozenset({4, 18, 30})) == kept
    assert netlink.attributes(packed, only=frozenset({4, 18})) == kept


def test_behind_the_last_one_that_is_wanted_nothing_is_looked_at() -> None:
    packed = netlink.u32(4, 1) + netlink.u32(5, 2)
    assert netlink.attributes(packed + netlink.u32(4, 3), only=frozenset({4, 5})) == netlink.attributes(packed)


@pytest.mark.parametrize("rest", [b"", b"\x01", b"\0\0\0\0", b"\x03\0\x01\0", b"\xff\xff\x01\0ab"])
def test_what_is_cut_short_ends_the_reading(rest: bytes) -> None:
    assert netlink.attributes(netlink.u32(4, 1) + rest)[4] == (1).to_bytes(4, "little")


class SilentKernel(Netlink):
    """Takes requests and says nothing."""

    def _send(self, packed: bytes) -> None:
        pass


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Netlink]:
    monkeypatch.setattr(netlink, "TIMEOUT_S", 0.01)
    with SilentKernel() as opened:
        yield opened


def test_a_kernel_that_does_not_answer_is_given_up(silent: Netlink) -> None:
    with pytest.raises(Unavailable, match=r"did not answer a netlink request within 0\.01 s"):
        silent.ask([Request(18, 0, b"", "anything")])
    with pytest.raises(Unavailable, match="did not answer"):
        silent.dump(18, b"\0" * 16, "anything")


def test_a_dump_that_keeps_changing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with SilentKernel() as opened:
        interrupted = [(3, 0x10, 0, b"\0\0\0\0")]
        monkeypatch.setattr(
            opened,
            "_receive",
            lambda: ((kind, flags, opened._numbers.last, body) for kind, flags, _, body in interrupted),
        )
        with pytest.raises(Unavailable, match="list: it changed faster than it could be read"):
            opened.dump(18, b"", "list")


def test_answers_to_requests_that_were_given_up_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with SilentKernel() as opened:
        opened._numbers.last = 7
        late, own = (2, 0, 5, b"\xff\xff\xff\xff" + b"\0" * 16), (2, 0, 8, b"\0" * 20)
        monkeypatch.setattr(opened, "_receive", lambda: iter([late, own]))
        assert [answer.error for answer in opened.ask([Request(18, 0, b"", "mine")])] == [0]


def error(number: int, sequence: int) -> tuple[int, int, int, bytes]:
    return 2, 0, sequence, (-number).to_bytes(4, "little", signed=True) + b"\0" * 16


def test_of_requests_that_travel_together_only_the_last_asks_for_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not answered went well; what failed is answered unasked."""
    sent: list[bytes] = []
    with SilentKernel() as opened:
        monkeypatch.setattr(opened, "_send", sent.append)
        told = iter([(16, 0, 1, b"found"), error(2, 2), error(0, 3)])
        monkeypatch.setattr(opened, "_receive", lambda: iter([next(told)]))
        answers = opened.ask([Request(18, 0, b"", name) for name in ("a", "b", "c")])
    assert [(it.error, it.messages) for it in answers] == [(0, (b"found",)), (2, ()), (0, ())]
    (packed,) = sent
    flags = [int.from_bytes(packed[at + 6 : at + 8], "little") for at in range(0, len(packed), 16)]
    assert flags == [netlink.REQUEST, netlink.REQUEST, netlink.REQUEST | netlink.ACK]


@pytest.mark.parametrize(
    ("said", "answer"), [((16, 0, 2, b"found"), (0, (b"found",))), (error(19, 2), (19, ())), (error(0, 2), (0, ()))]
)
def test_a_question_asks_for_no_acknowledgement_beside_its_answer(
    said: tuple[int, int, int, bytes], answer: tuple[int, tuple[bytes, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[bytes] = []
    with SilentKernel() as opened:
        monkeypatch.setattr(opened, "_send", sent.append)
        told = iter([(16, 0, 1, b"one before"), said])
        monkeypatch.setattr(opened, "_receive", lambda: iter([next(told)]))
        asked = [Request(18, 0, b"", "first"), Request(18, 0, b"", "question", is_question=True)]
        _, last = opened.ask(asked)
    assert (last.error, last.messages) == answer
    assert not int.from_bytes(sent[0][22:24], "little") & netlink.ACK


def test_a_socket_is_lent_again_but_for_one_that_met_an_error() -> None:
    lent = Lent()
    with lent.one() as first, lent.one() as second:
        assert first is not second
    with lent.one() as again:
        assert again in (first, second)
        with pytest.raises(ZeroDivisionError), lent.one() as spoilt:
            raise ZeroDivisionError
    with lent.one() as kept, lent.one() as new:
        assert spoilt not in (kept, new)
        lent.close()
        kept.ask([Request(18, 0, b"\0" * 16, "who has one keeps it")])
    with pytest.raises(OSError, match="Bad file descriptor"):
        kept._socket.getsockname()


def test_a_socket_that_was_not_answered_is_not_lent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlink, "TIMEOUT_S", 0.01)
    lent = Lent()
    with lent.one() as first:
        monkeypatch.setattr(first, "_send", lambda packed: None)
        with pytest.raises(Unavailable, match="did not answer"):
            first.dump(18, b"\0" * 16, "what somebody else leaves at that")
    with lent.one() as second:
        assert second is not first
        assert second.is_answered
    lent.close()


def test_numbers_of_requests_begin_anew_before_they_are_too_large() -> None:
    with Netlink() as opened:
        opened._numbers.last = 0xFFFFFFFF - 1
        asked = Request(18, 0, b"\0" * 16, "no link")
        assert len(opened.ask([asked])) == 1
        assert opened._numbers.last == 0xFFFFFFFF
        assert len(opened.ask([asked, asked])) == 2
        assert opened._numbers.last == 2
