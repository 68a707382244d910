"""Numbers of messages to the kernel, by which its answers are known (nlmsg_seq, linux/netlink.h)."""

from typing import Final

_LAST: Final = 0xFFFFFFFF


class Numbers:
    """Of one socket. They begin anew before 32 bits are full: a beat that renews each 10 ms comes there in four
    months.
    """

    def __init__(self) -> None:
        self.last = 0
        """The number that was given last."""

    def take(self, count: int) -> int:
        """Give so many numbers in a row, up to `last`; returns the first."""
        if self.last + count > _LAST:
            self.last = 0
        first = self.last + 1
        self.last += count
        return first
