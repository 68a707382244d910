"""Settings of more namespaces than are looked at through one instance of procfs: each its own, and none the host's."""

import os
import re
from functools import partial
from pathlib import Path

import pytest
from kernel_fixtures import Wires

from gapless.agent.kernel import netns, sysctls
from gapless.agent.kernel.sysnet import USES, SysNet

pytestmark = pytest.mark.isolated

HOPS = "ipv4/ip_default_ttl"
MANY = 2 * USES + 1


def test_each_namespace_has_what_was_written_there(wires: Wires) -> None:
    before = (Path("/proc/sys/net") / HOPS).read_text()
    opened: list[int] = []

    def make(number: int) -> None:
        netns.go_into_new()
        opened.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        assert sysctls.written({HOPS: str(100 + number)}) == {HOPS: str(100 + number)}

    def read(descriptor: int) -> tuple[str, str]:
        netns.go_to(descriptor)
        return sysctls.read({HOPS: ""})[HOPS], (Path("/proc/sys/net") / HOPS).read_text().strip()

    try:
        for number in range(MANY):
            netns.in_own_thread(partial(make, number), "make a namespace")
        found = [netns.in_own_thread(partial(read, it), "look into a namespace") for it in opened]
    finally:
        for descriptor in opened:
            os.close(descriptor)
    assert found == [(str(100 + number),) * 2 for number in range(MANY)]
    assert (Path("/proc/sys/net") / HOPS).read_text() == before


@pytest.mark.skipif(
    tuple(map(int, re.findall(r"\d+", os.uname().release)[:2])) < (5, 8), reason="this kernel has one procfs for all"
)
def test_they_are_found_in_an_instance_that_nobody_else_has(wires: Wires) -> None:
    mounts = Path("/proc/self/mountinfo").read_text()
    with SysNet().one() as descriptor:
        assert os.stat("ipv4", dir_fd=descriptor).st_dev != Path("/proc/sys/net/ipv4").stat().st_dev
        assert Path("/proc/self/mountinfo").read_text() == mounts
