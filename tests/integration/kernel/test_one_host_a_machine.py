"""Two hosts on one machine would remove each other's routers: the second one does not start, and the first goes on."""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kernel_fixtures import Wires

import namespaces
from gapless.wire.local import AgentStart, encode_start

pytestmark = pytest.mark.isolated

PATIENCE_S = 60.0
WITHOUT_PATIENCE = """
import sys
from gapless.agent import __main__ as agent
agent.LOCK_WAIT_S = 0.0
sys.exit(agent.main())
"""
"""An agent that does not wait for its predecessor."""


def is_locked(role: str) -> bool:
    """Whether somebody holds this lock in this network namespace (proc_net(5))."""
    return any(line.endswith(f" @gapless-{role}") for line in Path("/proc/net/unix").read_text().splitlines())


def until(holds: Callable[[], bool], first: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert first.poll() is None, first.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def host(directory: Path, name: str) -> list[str]:
    """A host with a state directory of its own, and no controller."""
    key = directory / "cluster.key"
    key.write_text("ab" * 32 + "\n")
    key.chmod(0o600)
    flags = {"name": name, "state-dir": str(directory / name), "key-file": str(key), "server": "127.0.0.1:9"}
    return [sys.executable, "-m", "gapless", "host", *(word for flag in flags for word in (f"--{flag}", flags[flag]))]


@contextlib.contextmanager
def agent(wires: Wires, *how: str) -> Iterator["subprocess.Popen[str]"]:
    """An agent, whose sentinel is the test and says nothing; it ends with the link to it."""
    ours, its = socket.socketpair()
    command = [sys.executable, "-P", *how, encode_start(AgentStart(fd=its.fileno(), settings=wires.settings))]
    with subprocess.Popen(command, pass_fds=[its.fileno()], stderr=subprocess.PIPE, text=True) as process:
        its.close()
        with ours:
            yield process


def test_of_two_hosts_with_different_state_directories_the_second_is_refused_with_one_line(tmp_path: Path) -> None:
    namespaces.require()
    with subprocess.Popen(host(tmp_path, "first"), stderr=subprocess.PIPE, text=True) as first:
        until(lambda: is_locked("sentinel") and is_locked("agent"), first)
        second = subprocess.run(
            host(tmp_path, "second"), capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )
        assert first.poll() is None, "the first goes on"
        assert is_locked("sentinel")
        assert is_locked("agent")
        first.terminate()
        _, said = first.communicate(timeout=PATIENCE_S)
    assert second.returncode == 1
    (line,) = (second.stdout + second.stderr).splitlines()
    assert "another gapless host runs on this machine" in line
    assert "stop that one first" in line
    assert first.returncode == 0, said
    assert "another gapless host" not in said


def test_of_two_agents_the_second_is_refused_with_one_line(wires: Wires) -> None:
    """Its sentinel may have another lock, such as that of an earlier release."""
    with agent(wires, "-m", "gapless.agent") as first:
        until(lambda: is_locked("agent"), first)
        with agent(wires, "-c", WITHOUT_PATIENCE) as second:
            _, said = second.communicate(timeout=PATIENCE_S)
        assert second.returncode == 1
        (line,) = said.splitlines()
        assert "another gapless host runs on this machine (its agent works in the same network namespace" in line
        assert first.poll() is None, "the first goes on"
    assert first.returncode == 0
