"""Runs a program of classic BPF as the kernel does (linux/filter.h), as far as ours use it."""

import struct


def passes(program: bytes, message: bytes) -> int:
    """How many bytes of a message pass; reading past its end drops it."""
    steps = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    place, register = 0, 0
    while True:
        code, when_so, when_not, number = steps[place]
        place += 1
        if code == 0x06:
            return number
        if code == 0x15:
            place += when_so if register == number else when_not
        elif code == 0x54:
            register &= number
        else:
            size = {0x30: 1, 0x28: 2, 0x20: 4}[code]
            if number + size > len(message):
                return 0
            register = int.from_bytes(message[number : number + size], "big")
