"""Which processes go first when memory runs out, asked of the kernel; and how a process ended, in words."""

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from oom_scores import score

from gapless.sentinel import processes
from gapless.sentinel.processes import give_up_first, how_it_ended


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that inherits how well this one is protected."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.mark.parametrize(("ordinary", "raised"), [(1, 1), (0, 0), (-1, 0)])
def test_who_is_better_protected_than_an_ordinary_process_is_so_no_more(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, ordinary: int, raised: int
) -> None:
    """Seen from this process: few may lower the figure, so what is ordinary is moved instead."""
    own = score()
    monkeypatch.setattr(processes, "ORDINARY", own + ordinary)
    give_up_first(child.pid)
    assert (score(child.pid), score()) == (own + raised, own)


def test_who_has_ended_needs_nothing(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()
    give_up_first(child.pid)


def test_how_a_process_ended() -> None:
    assert how_it_ended(3) == "exit status 3"
    assert how_it_ended(-signal.SIGKILL) == "killed by SIGKILL"
    assert how_it_ended(-40) == "killed by signal 40"
