"""The socket of lease datagrams: what the kernel gives when it is asked for room, and that too little is said."""

import socket

import pytest

from gapless.config import Address
from gapless.sentinel.beat import loop, words

HERE = Address(host="127.0.0.1", port=0)
FORCE = 33


class Unprivileged(socket.socket):
    """Of a process without CAP_NET_ADMIN."""

    def setsockopt(self, level: int, option: int, value: int) -> None:  # type: ignore[override]
        if (level, option) == (socket.SOL_SOCKET, FORCE):
            raise PermissionError(1, "Operation not permitted")
        super().setsockopt(level, option, value)


class Privileged(Unprivileged):
    """Force is what would be given politely here."""

    def setsockopt(self, level: int, option: int, value: int) -> None:  # type: ignore[override]
        super().setsockopt(level, socket.SO_RCVBUF if option == FORCE else option, value // 2)


@pytest.mark.parametrize("kind", [Unprivileged, Privileged])
def test_room_is_forced_where_that_is_allowed_and_asked_for_otherwise(
    kind: type[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "socket", kind)
    monkeypatch.setattr(loop, "ROOM_BYTES", 65536)
    with loop.open_socket(HERE) as opened:
        assert loop.room(opened) == (65536 if kind is Unprivileged else 32768)


def test_what_the_kernel_does_not_give_politely_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", Unprivileged)
    monkeypatch.setattr(loop, "ROOM_BYTES", 1 << 30)
    with loop.open_socket(HERE) as opened:
        got = loop.room(opened)
    assert got < 1 << 30
    said = words.little_room(got, 1 << 30)
    assert (said.level, said.details["bytes"]) == ("warning", str(got))
