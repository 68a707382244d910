"""Packet sockets that hear every port of a namespace, and filters for them (packet(7), classic BPF).

A port of a bridge hands its frames to the bridge before any one protocol's socket is asked; so only a socket for all
protocols sees them there, and a filter in the kernel leaves what is wanted.
"""

import ctypes
import socket
from collections.abc import Sequence

ETH_P_ALL, ETH_P_ARP, ETH_P_IPV4 = 0x0003, 0x0806, 0x0800
SOL_PACKET = 263
_PACKET_IGNORE_OUTGOING = 23
_SO_ATTACH_FILTER = 26

LD_W, LD_H, LD_B, RSH, JEQ, JSET, RET = 0x20, 0x28, 0x30, 0x74, 0x15, 0x45, 0x06
"""Load a word, half a word, a byte; shift right; jump if equal, if any bit is set; return (linux/filter.h)."""
INTERFACE = 0xFFFFF000 + 8
"""Where the index of the interface is loaded from: ancillary data, SKF_AD_OFF + SKF_AD_IFINDEX."""
Line = tuple[int, int | None, int | None, int]
"""An instruction: code, the line to go on at if true, if false (None: the next one), value."""


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.POINTER(_Instruction)))


def hearing(lines: Sequence[Line]) -> socket.socket:
    """A socket that hears what arrives at any interface of the calling thread's namespace and passes the filter, and
    perhaps a frame from before the filter was in place. Raises OSError without the right to hear it.
    """
    heard = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    heard.setsockopt(SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)

    def distance(number: int, target: int | None) -> int:
        return 0 if target is None else target - number - 1

    program = [
        _Instruction(code, distance(number, if_true), distance(number, if_false), value)
        for number, (code, if_true, if_false, value) in enumerate(lines)
    ]
    array = (_Instruction * len(program))(*program)
    heard.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, bytes(_Program(len(program), array)))
    return heard
