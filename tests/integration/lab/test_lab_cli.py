"""`gapless lab` as people use it: one command after another, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from gapless.lab import running
from gapless.lab.findings.result import Result
from gapless.lab.rounds import Rounds

pytestmark = [pytest.mark.netns, pytest.mark.timeout(600)]

GAPLESS = (sys.executable, "-m", "gapless")
QUICK = ("--report-interval", "0.25", "--agent-down-time", "1")
PATIENCE_S = 240


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Labs of this test only; those that it leaves running are ended."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    yield tmp_path
    for name in running.names():
        running.the(name).end()


def gapless(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*GAPLESS, *words], capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def mounts() -> str:
    return Path("/proc/self/mountinfo").read_text()


def test_a_run_says_what_it_found_to_people_and_machines(tmp_path: Path) -> None:
    before = mounts()
    file = tmp_path / "found.json"
    size = ("--hosts", "3", "--routers", "3")
    done = gapless("lab", "run", *size, "--fault", "host-power", *QUICK, "--json", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "traffic is back" in done.stdout
    found = msgspec.json.decode(file.read_bytes(), type=Result)
    assert (found.fault, found.hosts, found.routers, found.mode) == ("host-power", 3, 3, "standby")
    assert found.moved == found.affected > 0
    assert set(json.loads(file.read_bytes())["gap_ms"]) >= {"median", "p99", "max", "per_router"}
    assert len(found.gap_ms.per_router) == 3
    assert json.loads(file.read_bytes())["double_active_frames"] == 0
    assert "Double active frames: 0" in " ".join(done.stdout.split())
    assert found.timeline.takeover is not None
    assert found.probes.sent > found.probes.lost > 0
    assert found.versions.kernel
    assert mounts() == before


def test_rounds_strike_one_lab_again_and_again_and_say_what_came_of_all(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    size = ("--hosts", "3", "--routers", "6", "--rounds", "2")
    done = gapless("lab", "run", *size, "--fault", "host-power", "--fault", "agent-kill", *QUICK, "--json", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    found = msgspec.json.decode(file.read_bytes(), type=Rounds)
    assert found.broken == ""
    results = [one.result for one in found.rounds if one.result is not None]
    assert [one.fault for one in results] == ["host-power", "agent-kill"] * 2
    assert [one.affected for one in results] == [2] * 4, "hosts carry alike before each round"
    assert [one.moved for one in results] == [2, 0, 2, 0]
    assert [one.spread for one in found.rounds] == [0, 2, 0, 2]
    assert found.summary["host-power"].worst_ms.max == max(one.gap_ms.max for one in results)
    assert (found.summary["agent-kill"].lost, found.summary["host-power"].double_active_frames) == (0, 0)
    assert "round 2: agent-kill: 0 of 6 routers moved" in done.stdout


def test_a_lab_that_stays_can_be_looked_at_broken_and_taken_away(runtime: Path) -> None:
    up = gapless("lab", "up", "--hosts", "2", "--routers", "2", *QUICK)
    assert up.returncode == 0, up.stdout + up.stderr
    assert "gapless lab shell" in up.stdout
    # That `up` was heard to its end shows that nobody kept its output; this, that nobody reads the terminal.
    said = running.the("lab").said
    for pid in (said.supervisor, said.pid):
        assert Path(f"/proc/{pid}/fd/0").readlink() == Path("/dev/null")

    again = gapless("lab", "up")
    assert again.returncode == 1
    assert "is running" in again.stderr

    assert gapless("lab", "status").returncode == 0
    assert gapless("lab", "exec", "vm-1", "--", "ping", "-c", "1", "-W", "5", "198.51.100.10").returncode == 0
    assert gapless("lab", "exec", "host-1", "--", "sh", "-c", "exit 7").returncode == 7
    agents = gapless("lab", "exec", "controller", "--", "openstack", "network", "agent", "list", "-f", "json")
    there = {agent["Host"] for agent in json.loads(agents.stdout)}
    assert there == {"host-1", "host-2", "controller"}, f"the third is an arbiter: {agents.stderr}"

    nowhere = gapless("lab", "exec", "host-9", "--", "true")
    assert nowhere.returncode == 1
    assert "host-1" in nowhere.stderr
    struck = gapless("lab", "fault", "agent-kill", "host-1")
    assert struck.returncode == 0, struck.stdout + struck.stderr
    assert " 0 lost" in struck.stdout
    unknown = gapless("lab", "fault", "earthquake")
    assert unknown.returncode == 1
    assert "host-power" in unknown.stderr

    assert gapless("lab", "down").returncode == 0
    assert not (runtime / "gapless").exists(), "an empty directory would be left in /tmp"
    gone = gapless("lab", "status")
    assert gone.returncode == 1
    assert "gapless lab up" in gone.stderr


def test_a_lab_killed_with_9_leaves_nothing(runtime: Path) -> None:
    before = mounts()
    assert gapless("lab", "up", "--hosts", "2", "--routers", "1", *QUICK).returncode == 0
    said = running.the("lab").said
    of_it = _in_user_namespace_of(said.pid)
    assert len(of_it) > 6  # server, sentinels, agents, machines

    os.kill(said.supervisor, signal.SIGKILL)

    _await_end_of(of_it)
    assert mounts() == before
    assert running.find("lab") is None
    assert not (runtime / "gapless").exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_a_run_whose_front_is_killed_leaves_nothing(number: signal.Signals) -> None:
    """Only the process that the shell started: the lab is told by the kernel, or by that one where it can."""
    before = mounts()
    outlasting_the_test = ("--fault", "sentinel-stop", "--hold", "3600")
    with subprocess.Popen(
        ["env", "--default-signal=HUP", *GAPLESS, "lab", "run", "--routers", "1", *QUICK, *outlasting_the_test],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert "switches" in process.stdout.readline()
        (supervisor,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        of_it = _in_user_namespace_of(int(supervisor))
        assert len(of_it) > 2

        process.send_signal(number)

        try:
            _await_end_of(of_it)
        finally:
            with suppress(ProcessLookupError):
                os.kill(int(supervisor), signal.SIGKILL)
    assert mounts() == before


def _await_end_of(processes: Sequence[int]) -> None:
    deadline = time.monotonic() + 60
    while left := [pid for pid in processes if Path(f"/proc/{pid}/ns/user").exists()]:
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.05)


def _in_user_namespace_of(pid: int) -> list[int]:
    wanted = Path(f"/proc/{pid}/ns/user").readlink()
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if (directory / "ns/user").readlink() == wanted:
                found.append(int(directory.name))
        except OSError:
            continue
    return found


def test_an_interrupted_run_says_what_was_going_on_and_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C reaches a whole process group, as from a terminal."""
    before = mounts()
    process = subprocess.Popen(
        [*GAPLESS, "lab", "run", "--routers", "1", *QUICK],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert "switches" in process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    _, complaint = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, complaint
    assert complaint.startswith("gapless lab: interrupted by Ctrl-C (")
    assert "Traceback" not in complaint
    assert mounts() == before


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("run", "--fault", "earthquake"), "there is no fault 'earthquake'"),
        (("run", "--hosts", "0"), "a lab has 1 to"),
        (("run", "--host", "host-7"), "there is no host 'host-7': host-1, host-2, host-3"),
        (("run", "--hosts", "1", "--routers", "1"), "host-power needs 2 hosts, since another is to take its routers"),
        (("run", "--hosts", "2", "--fault", "two-arbiters-kill"), "two-arbiters-kill needs 3 hosts"),
        (("run", "--routers", "0"), "without a router there is nothing to measure"),
        (("run", "--mode", "sideways"), "there is no failover mode 'sideways'"),
        (("run", "--timing", "leisurely"), "there is no timing 'leisurely'"),
        (("run", "--agent-down-time", "0.5"), "must be at least twice report_interval"),
        (("up", "--name", "../x"), "is no name for a lab"),
        (("down",), "no lab 'lab' is running"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(runtime: Path, words: tuple[str, ...], complaint: str) -> None:
    done = gapless("lab", *words)
    assert done.returncode == 1
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1
