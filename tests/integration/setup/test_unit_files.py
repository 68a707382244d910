"""The unit files in deploy/: systemd takes every line of them, and flags and commands are there."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[3] / "deploy"
UNITS = ("gapless-host", "gapless-server")
INSTALLED = "/opt/gapless/.venv/bin/gapless"
MOUNTS = ("Protect", "Private", "ReadOnlyPaths", "ReadWritePaths", "InaccessiblePaths", "TemporaryFileSystem", "Bind")


def lines(unit: str) -> list[str]:
    return [line for line in (DEPLOY / f"{unit}.service").read_text().splitlines() if line and line[0] != "#"]


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_takes_every_line(unit: str, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed here, so nobody looks at the unit files")
    copy = tmp_path / f"{unit}.service"
    copy.write_text("\n".join(lines(unit)).replace(INSTALLED, sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, timeout=60)
    ours = [line for line in (done.stdout + done.stderr).splitlines() if unit in line]
    assert (done.returncode, ours) == (0, [])


@pytest.mark.parametrize("unit", UNITS)
def test_it_is_watched_started_again_for_ever_and_ended_in_order(unit: str) -> None:
    said = set(lines(unit))
    assert {"Type=notify", "NotifyAccess=main", "Restart=always", "KillMode=mixed", "WatchdogSec=30"} <= said
    assert "StartLimitIntervalSec=0" in said


def test_a_machine_that_has_both_stops_its_host_before_its_controller() -> None:
    """Units are stopped in the reverse order of their start: routers leave as long as somebody says where they go."""
    (after,) = [line for line in lines("gapless-host") if line.startswith("After=")]
    assert "gapless-server.service" in after.partition("=")[2].split()
    assert "TimeoutStartSec=20" in lines("gapless-server"), "which is for how long that host's start may wait"


def test_a_host_has_no_mounts_of_its_own() -> None:
    """Routers are mounts: in a mount namespace of the unit's they would end with it, and nobody would see them."""
    assert not [line for line in lines("gapless-host") if line.startswith(MOUNTS)]
