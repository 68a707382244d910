"""One host to a network namespace: the second is refused with a line, a successor waits for its predecessor."""

import os
import subprocess
import sys
import threading
import uuid

import pytest

from gapless.errors import InvalidRequest
from gapless.wire.hostlock import HostLock

HOLDER = """
import sys
from gapless.wire.hostlock import HostLock
lock = HostLock(sys.argv[1])
print("held", flush=True)
input()
"""


@pytest.fixture
def role() -> str:
    """A role of this test alone: other tests, and a host on this machine, have locks of their own."""
    return f"test-{uuid.uuid4()}"


def test_a_second_owner_is_told_what_to_do(role: str) -> None:
    with HostLock(role), pytest.raises(InvalidRequest, match=rf"its {role} works in .*: a machine has one; stop"):
        HostLock(role)


def test_who_has_waited_says_for_how_long(role: str) -> None:
    """It may be a predecessor that hangs in the kernel."""
    with HostLock(role), pytest.raises(InvalidRequest, match=r"and has not ended for 0\.05 s"):
        HostLock(role, wait_s=0.05)


def test_roles_do_not_exclude_each_other(role: str) -> None:
    with HostLock(role), HostLock(f"{role}-other"):
        pass


def test_the_lock_of_a_killed_process_is_free(role: str) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, role], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(InvalidRequest):
            HostLock(role)
        holder.kill()
        holder.wait(20)
        HostLock(role, wait_s=20.0).close()


def test_a_successor_waits_for_its_predecessor(role: str) -> None:
    predecessor = HostLock(role)
    began, taken = threading.Event(), threading.Event()

    def succeed() -> None:
        began.set()
        HostLock(role, wait_s=20.0).close()
        taken.set()

    successor = threading.Thread(target=succeed)
    successor.start()
    assert began.wait(20)
    assert not taken.is_set()
    predecessor.close()
    successor.join(20)
    assert taken.is_set()


def test_a_child_does_not_inherit_the_lock(role: str) -> None:
    lock = HostLock(role)
    sleeper = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    with sleeper:
        lock.close()
        HostLock(role, wait_s=20.0).close()  # exec closes it a moment after Popen returns
        assert sleeper.stdin is not None
        os.write(sleeper.stdin.fileno(), b"\n")
