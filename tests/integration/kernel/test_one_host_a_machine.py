"""Two hosts on one machine would remove each other's routers: the second one does not start."""

import subprocess
import sys
from pathlib import Path

import pytest

import namespaces
from gapless.wire.hostlock import HostLock

pytestmark = pytest.mark.isolated


def test_a_second_host_on_a_machine_is_refused_with_one_line(tmp_path: Path) -> None:
    namespaces.require()
    key = tmp_path / "cluster.key"
    key.write_text("ab" * 32 + "\n")
    key.chmod(0o600)
    flags = [
        "--name",
        "second",
        "--state-dir",
        str(tmp_path / "second"),
        "--key-file",
        str(key),
        "--server",
        "127.0.0.1",
    ]
    with HostLock("sentinel"):
        second = subprocess.run(
            [sys.executable, "-m", "gapless", "host", *flags], capture_output=True, text=True, check=False, timeout=60
        )
    assert second.returncode == 1
    (line,) = (second.stdout + second.stderr).splitlines()
    assert "another gapless host runs on this machine" in line
    assert "stop that one first" in line
