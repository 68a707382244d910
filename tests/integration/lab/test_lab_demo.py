"""The demo that is interrupted or not to be had, and a benchmark in short. What it shows: `setup/test_newcomer.py`."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gapless.lab.machines import enter
from leftovers import Ground, nothing_left
from one_host import BUSY

pytestmark = [pytest.mark.netns, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[3]
PATIENCE_S = 300


@pytest.fixture(autouse=True)
def ground(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ground]:
    """However a test here ends a demo, nothing of it is left."""
    with nothing_left(tmp_path_factory.mktemp("on") / "ground") as ground:
        for name, place in ground.environment.items():
            monkeypatch.setenv(name, place)
        yield ground


def run(*argv: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *argv], capture_output=True, text=True, timeout=PATIENCE_S, check=False, cwd=ROOT
    )


def test_a_demo_that_is_interrupted_leaves_nothing(tmp_path: Path, ground: Ground) -> None:
    """An empty report neither."""
    with subprocess.Popen(
        [sys.executable, "-m", "gapless", "demo", "--report", str(tmp_path / "story.html")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        while "switches" not in (line := process.stdout.readline()):
            assert line, "the demo ended by itself"
        assert (tmp_path / "story.html").exists()
        assert len(ground.processes()) > 3, "the front, the lab's supervisor, its first process, and who builds"
        os.killpg(process.pid, signal.SIGINT)
        _, complaint = process.communicate(timeout=PATIENCE_S)
    assert complaint.startswith("gapless demo: interrupted by Ctrl-C (")
    assert list(tmp_path.iterdir()) == []


def test_a_demo_on_a_machine_that_forbids_namespaces_leaves_no_empty_report(tmp_path: Path) -> None:
    demo = [sys.executable, "-m", "gapless", "demo", "--report", str(tmp_path / "story.html")]
    forbidding = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    done = subprocess.run(
        enter.command(["sh", "-c", forbidding, "sh", *demo]),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == enter.FORBIDDEN
    assert "sysctl -w user.max_user_namespaces" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_classic_way_with_standbys_is_refused() -> None:
    done = run("-m", "gapless", "demo", "--classic", "--mode", "standby")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "gapless demo: --classic is --mode reschedule with Neutron's own timing, and not --mode standby\n"
    )


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--report", "/nonexistent/story.html"), "cannot be written"),
        (("--routers", "0"), "greater than or equal to 1"),
        (("--hosts", "1"), "greater than or equal to 2"),
    ],
)
def test_what_the_demo_cannot_do_it_says_before_it_begins(words: tuple[str, ...], complaint: str) -> None:
    refused = run("-m", "gapless", "demo", *words)

    assert refused.returncode in (1, 2)
    assert complaint in refused.stderr
    assert refused.stdout == ""


def test_the_benchmark_in_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BUSY, "1")  # with other tests
    done = run("bench/reschedule.py", "--routers", "2", "--runs", "1", "--out", str(tmp_path))

    assert done.returncode == 0, done.stdout + done.stderr
    (table,) = tmp_path.glob("*.md")
    (found,) = tmp_path.glob("*.json")
    assert "| 2 | 1 | 1 |" in table.read_text()
    assert json.loads(found.read_text())["host_power"]["2"][0]["ok"] is True
