"""Entering and leaving: a lab needs no root, ends however its pid 1 ends, and nothing of it remains."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gapless.lab.machines import enter

pytestmark = pytest.mark.netns

PATIENCE_S = 30


def run(*argv: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(enter.command(list(argv)), capture_output=True, text=True, timeout=PATIENCE_S, check=False)


@pytest.fixture
def started() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts labs, and ends them whatever happens."""
    running: list[subprocess.Popen[str]] = []

    def start(*argv: str, register: Path | None = None) -> "subprocess.Popen[str]":
        process = subprocess.Popen(enter.command(list(argv), register=register), stdout=subprocess.PIPE, text=True)
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def test_a_lab_whose_parent_is_gone_before_it_begins_is_not_built() -> None:
    argv = enter.command(["/bin/true"])
    for parent in (1, 2**22 + 1):  # somebody else, and nobody: no pid is that large
        done = subprocess.run(
            [*argv[:3], "--parent", str(parent), *argv[3:]],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == enter.FORBIDDEN
        assert done.stderr == "gapless lab: who started this lab has ended\n"


def first_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def gone(pid: int) -> bool:
    """Whether a process is over; waits for it, bounded."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    ready = select.select([descriptor], [], [], PATIENCE_S)[0]
    os.close(descriptor)
    return bool(ready)


def test_the_command_is_root_of_a_machine_with_no_network() -> None:
    done = run(
        "sh", "-c", "echo $PPID $(id -u) $(ls /sys/class/net > /dev/null; ip -o link | wc -l) $(ls /run | xargs)"
    )
    assert done.stdout.split() == ["1", "0", "1", "lab", "netns"]


def test_real_time_priority_is_allowed_by_who_may_allow_it() -> None:
    raised = subprocess.run(["prlimit", "--rtprio=50:50", "sh", "-c", "ulimit -r"], capture_output=True, check=False)
    allowed = raised if raised.returncode == 0 else subprocess.run(["sh", "-c", "ulimit -r"], capture_output=True)
    assert run("sh", "-c", "ulimit -r").stdout == allowed.stdout.decode()


def test_the_exit_status_is_the_commands() -> None:
    assert run("sh", "-c", "exit 7").returncode == 7


def test_what_nobody_waits_for_is_reaped() -> None:
    """A zombie would keep the pid namespace of its machine alive for ever."""
    orphan = "(sleep 0.1 & echo $!) > /run/orphan; orphan=$(cat /run/orphan)"
    gone = "for i in $(seq 200); do test -d /proc/$orphan || exit 7; sleep 0.1; done"
    assert run("sh", "-c", f"{orphan}; {gone}").returncode == 7


def test_a_command_that_is_not_there_is_named() -> None:
    done = run("/no/such/command")
    assert done.returncode == 1
    assert "/no/such/command" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_entry_is_called_with_its_argument_and_says_the_status() -> None:
    assert run(*enter.call("operator:index", 7)).returncode == 7


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_ending_the_supervisor_ends_every_process_of_the_lab(
    started: Callable[..., "subprocess.Popen[str]"], number: signal.Signals
) -> None:
    # A grandchild in its own session, deaf to SIGTERM and SIGHUP: only the kernel's own clean-up reaches it.
    deaf = "trap '' TERM HUP; (setsid sh -c 'echo ready; sleep 1000') & trap 'exit 0' TERM; wait"
    lab = started("sh", "-c", deaf)
    assert first_line(lab) == "ready"
    inside = [int(pid) for pid in _below(lab.pid)]
    assert len(inside) >= 3

    lab.send_signal(number)

    assert all(gone(pid) for pid in inside)


def _below(pid: int) -> list[str]:
    """All descendants of a process."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((directory / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            found += [directory.name, *_below(int(directory.name))]
    return found


def test_mounts_and_files_of_a_lab_are_not_seen_outside(started: Callable[..., "subprocess.Popen[str]"]) -> None:
    mounts = Path("/proc/self/mountinfo").read_text()
    lab = started("sh", "-c", "touch /run/netns/trace && ip netns add inside && echo ready && sleep 1000")
    assert first_line(lab) == "ready"
    assert not Path("/run/netns/trace").exists()
    assert Path("/proc/self/mountinfo").read_text() == mounts


def test_the_register_file_is_there_while_the_lab_is(
    started: Callable[..., "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    file = tmp_path / "deep" / "lab.json"
    lab = started("sh", "-c", "trap 'exit 0' TERM; echo ready; sleep 1000 & wait", register=file)
    assert first_line(lab) == "ready"
    said = json.loads(_when_there(file))
    assert said["supervisor"] == lab.pid
    assert Path(f"/proc/{said['pid']}/root/run/lab").is_dir()

    lab.send_signal(signal.SIGTERM)

    assert lab.wait(PATIENCE_S) == 0
    assert not file.exists()


def _when_there(file: Path) -> str:
    """The supervisor writes it when the command runs already."""
    deadline = time.monotonic() + PATIENCE_S
    while not file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return file.read_text()


def test_a_signal_that_came_before_pid_1_could_hear_it_ends_the_command() -> None:
    def is_told_already() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        os.kill(os.getpid(), signal.SIGTERM)

    argv = [sys.executable, "-m", "gapless.lab.machines.first", "sleep", "1000"]
    done = subprocess.run(argv, preexec_fn=is_told_already, timeout=PATIENCE_S, check=False)
    assert done.returncode == 128 + signal.SIGTERM


def test_of_two_labs_that_begin_at_once_under_one_name_one_refuses(tmp_path: Path) -> None:
    """And leaves the other one's file alone, which is gone with that one."""
    file = tmp_path / "private" / "lab.json"
    argv = enter.command(["sleep", "1000"], register=file)
    both = [subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        supervisor = json.loads(_when_there(file))["supervisor"]
        (lab,) = [each for each in both if each.pid == supervisor]
        (refused,) = [each for each in both if each.pid != supervisor]
        _, complaint = refused.communicate(timeout=PATIENCE_S)
        assert (refused.returncode, complaint) == (
            1,
            "gapless lab: a lab 'lab' is running; end it with `gapless lab down`, or choose another --name\n",
        )
        assert json.loads(file.read_text())["supervisor"] == lab.pid
        lab.send_signal(signal.SIGTERM)
        assert lab.wait(PATIENCE_S) == 128 + signal.SIGTERM
        assert not file.exists()
    finally:
        for each in both:
            each.kill()
            each.communicate()


def test_a_lab_that_cannot_be_registered_safely_does_not_run(
    started: Callable[..., "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    (tmp_path / "trap").symlink_to(tmp_path)
    lab = started("sleep", "1000", register=tmp_path / "trap" / "lab.json")
    assert lab.wait(PATIENCE_S) == 1
    assert lab.stdout is not None
    assert lab.stdout.read() == "", "nobody holds it open any more: pid 1 has ended too"
    assert [path.name for path in tmp_path.iterdir()] == ["trap"]


def test_a_registered_lab_holds_nothing_of_the_terminal_that_started_it(
    started: Callable[..., "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    let_go = "exec < /dev/null > /dev/null 2>&1; trap 'exit 0' TERM; sleep 1000 & wait"
    lab = started("sh", "-c", f"echo ready; {let_go}", register=tmp_path / "private" / "lab.json")
    assert first_line(lab) == "ready"
    assert lab.stdout is not None
    assert lab.stdout.read() == "", "ends while the lab runs, so `gapless lab up | tail` does"
    assert lab.poll() is None


def test_a_masked_proc_as_in_containers_is_lived_with() -> None:
    """The kernel mounts no fresh /proc for who sees only part of the old one; then processes have two numbers."""
    program = (
        "import os; from gapless.lab.machines import processes; "
        "mine = [p for p in processes.every() if p.pid == os.getpid()]; "
        "print(len(mine), mine[0].name != str(mine[0].pid))"
    )
    masked = 'mount --bind /dev/null /proc/uptime && exec "$@"'
    inner = enter.command([sys.executable, "-c", program])
    done = run("sh", "-c", masked, "sh", *inner)
    assert done.stdout.split() == ["1", "True"], done.stderr


def test_a_machine_without_user_namespaces_says_what_to_do() -> None:
    """Inside a lab that may have no more of them: the same error as on a machine that forbids them."""
    argv = enter.command(["/bin/true"])
    done = run("sh", "-c", 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"', "sh", *argv)
    assert done.returncode == enter.FORBIDDEN
    assert "sysctl -w user.max_user_namespaces" in done.stderr
    assert len(done.stderr.splitlines()) == 1
