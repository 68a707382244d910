"""What tests of whole commands hold them to: that who leaves something is found, and is told of."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from leftovers import Ground, nothing_left

WAITS = "import sys; print('here', flush=True); sys.stdin.read()"


def test_who_leaves_nothing_passes(tmp_path: Path) -> None:
    with nothing_left(tmp_path / "ground") as ground:
        done = subprocess.run([sys.executable, "-c", ""], env=dict(ground.environment), timeout=60, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("place", ["HOME", "TMPDIR", "XDG_RUNTIME_DIR"])
def test_a_file_is_found(place: str, tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match="forgotten"), nothing_left(tmp_path / "ground") as ground:
        Path(ground.environment[place], "forgotten").touch()


@pytest.mark.parametrize("known_by", ["environment", "directory"])
def test_a_process_is_found(known_by: str, tmp_path: Path) -> None:
    begun: list[subprocess.Popen[bytes]] = []
    with pytest.raises(pytest.fail.Exception, match="process"), nothing_left(tmp_path / "ground") as ground:
        begun.append(waiting(ground, known_by))
    begun[0].communicate(timeout=60)
    assert ground.processes() == []


def waiting(ground: Ground, known_by: str) -> "subprocess.Popen[bytes]":
    """A process that waits for its input to end."""
    process = subprocess.Popen(
        [sys.executable, "-c", WAITS],
        env=os.environ | (dict(ground.environment) if known_by == "environment" else {}),
        cwd=None if known_by == "environment" else ground.places["HOME"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


@pytest.mark.isolated
def test_a_link_a_namespace_and_a_mount_are_found(tmp_path: Path) -> None:
    link, namespace = "ip link add forgotten type bridge", "ip netns add lost"
    with pytest.raises(pytest.fail.Exception) as told, nothing_left(Path("/run/ground")):
        subprocess.run(f"{link} && {namespace} && mount -t tmpfs astray {tmp_path}", shell=True, check=True, timeout=60)
    assert all(each in str(told.value) for each in ("link: forgotten", "network namespace: lost", "astray"))
