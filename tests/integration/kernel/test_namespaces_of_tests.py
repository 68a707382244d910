"""The mechanism that gives tests namespaces of their own."""

import os
import subprocess
from pathlib import Path

import pytest

import namespaces


@pytest.mark.isolated
def test_a_marked_test_is_root_of_an_empty_machine() -> None:
    links = subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True, check=True, timeout=10).stdout
    assert [line.split()[0] for line in links.splitlines()] == ["lo"]
    assert os.geteuid() == 0
    assert os.getpid() == 1
    assert not Path("/run/netns").exists()


def test_a_child_that_fails_says_why() -> None:
    def work() -> bytes:
        raise RuntimeError("the reason")

    if namespaces.why_forbidden():
        pytest.skip(namespaces.why_forbidden())
    assert b"RuntimeError: the reason" in namespaces.run_isolated(work)


def test_a_child_that_hangs_is_ended() -> None:
    def work() -> bytes:
        while True:
            os.read(os.pipe()[0], 1)

    assert namespaces.run_isolated(work, timeout_s=0.5) == b""
