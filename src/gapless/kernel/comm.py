"""What the kernel calls a process (`comm` in proc(5)): seen in `ps` and `top`, and told with each nftables transaction.

The rule: a process that changes nftables many times a second has a name of its own, so that whoever listens can leave
it out in the kernel, where that costs nothing.
"""

import ctypes
from typing import Final

BEAT: Final = "gapless-beat"
"""A host's beat, which renews its lease in the kernel with each interval."""

_PR_SET_NAME = 15  # linux/prctl.h


def take(name: str) -> None:
    """Call the calling thread so, and those that it starts from now on; fifteen bytes at most."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()))
