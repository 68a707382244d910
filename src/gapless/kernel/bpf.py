"""What a socket is to hear, as a program of classic BPF: the kernel drops the rest, and nobody is woken up for it.

A program is steps in a row. It ends at a RETURN, whose number says how many bytes of a message pass; 0: none. What it
loads it reads in network order, also where a message has numbers in the host's (netlink); and where it reads past a
message's end, the kernel drops that. Format: linux/filter.h.
"""

import ctypes
import socket
import struct
from typing import Final

LOAD_WORD, LOAD_HALF, LOAD_BYTE = 0x20, 0x28, 0x30
"""Load so much from an absolute place of the message."""
AND: Final = 0x54
JUMP_EQUAL: Final = 0x15
RETURN: Final = 0x06

Step = tuple[int, int, int, int]
"""Instruction, how many to pass over when it is so, and when not, and its number."""

WHOLE: Final[Step] = (RETURN, 0, 0, 1 << 16)
NOTHING: Final[Step] = (RETURN, 0, 0, 0)

_SO_ATTACH_FILTER: Final = 26  # asm-generic/socket.h
_STEP = struct.Struct("=HBBI")


def first(size: int) -> Step:
    """The message passes, cut to this many bytes."""
    return RETURN, 0, 0, size


def packed(*steps: Step) -> bytes:
    """A program as `attach` takes it."""
    return b"".join(_STEP.pack(*step) for step in steps)


def attach(opened: socket.socket, program: bytes) -> None:
    """Have a socket hear what passes a program, and nothing else. Raises OSError for what is no program."""
    steps = ctypes.create_string_buffer(program, len(program))
    about = struct.pack("@HP", len(program) // _STEP.size, ctypes.addressof(steps))
    opened.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, about)
