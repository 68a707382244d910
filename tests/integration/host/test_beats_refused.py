"""A real kernel that refuses its host's lease: of a beat without CAP_NET_ADMIN it takes no nftables transaction.

It looks at who sends, and so a process that put the capability aside is refused on the socket that it had all along.
"""

import os
import signal
from pathlib import Path

import pytest
from test_beats import running, taken_over, until

from logged import kept

pytestmark = pytest.mark.isolated

REFUSED = """
import ctypes
import signal
import struct
import sys

from gapless.errors import GaplessError
from gapless.sentinel.beat import __main__
from gapless.sentinel.beat.guard import Guard

libc, net_admin, version_3 = ctypes.CDLL(None, use_errno=True), 1 << 12, 0x20080522
left = 0


def may_change(is_so):
    head, sets = ctypes.create_string_buffer(struct.pack("=Ii", version_3, 0)), ctypes.create_string_buffer(24)
    assert libc.capget(head, sets) == 0
    effective, *others = struct.unpack("=6I", sets.raw)
    sets.raw = struct.pack("=6I", effective | net_admin if is_so else effective & ~net_admin, *others)
    assert libc.capset(head, sets) == 0, ctypes.get_errno()


def refuse(renewals):
    global left
    left = renewals
    may_change(False)


class Refused(Guard):
    def extend(self, until_s):
        global left
        try:
            super().extend(until_s)
        except GaplessError:
            left -= 1
            if left == 0:
                may_change(True)
            raise


signal.signal(signal.SIGUSR1, lambda *_: refuse(2))
signal.signal(signal.SIGUSR2, lambda *_: refuse(1_000_000))
signal.signal(signal.SIGHUP, lambda *_: may_change(True))
__main__.Guard = Refused
sys.exit(__main__.main())
"""
"""A beat that can be told to put the capability aside: for two renewals, until told otherwise, and no more."""


async def test_a_host_whose_kernel_refuses_its_lease_twice_keeps_it_and_one_that_it_goes_on_refusing_is_taken_over(
    tmp_path: Path,
) -> None:
    with kept("sentinel") as lines:
        async with running(tmp_path, lines, "-c", REFUSED) as it:
            first, second, _ = it.hosts
            before, pid = first.tenure, first.beat_pid()

            def is_said(words: str) -> bool:
                return any(words in line for line in lines)

            os.kill(pid, signal.SIGUSR1)
            await until(lambda: is_said("can renew the lease in the kernel again"), "the kernel takes the lease again")
            assert is_said("cannot renew the lease in the kernel; trying again")
            await it.passes(first)
            assert (first.tenure, first.is_open, second.is_open) == (before, True, False)

            os.kill(pid, signal.SIGUSR2)
            await taken_over(it)
            why = "the kernel does not take its lease (renew the lease in the kernel: Operation not permitted)"
            await until(lambda: is_said(why), "it says why it gives up")
            assert not first.tenure

            os.kill(pid, signal.SIGHUP)
            await until(lambda: first.tenure > before, "it holds a lease again, at a higher incarnation")
            assert (first.beat_pid(), first.is_open) == (pid, False)
            await it.passes(second)
        it.check()
