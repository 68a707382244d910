"""Real-time priority from outside: to beats below this process and their threads, and to nobody else."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

import real_time
from gapless.lab.machines.nodes import BEAT_MODULE
from gapless.lab.measuring.traffic import Traffic
from real_time import FROM_OUTSIDE, NONE, RealTime, why_not_from_outside

allowed = pytest.mark.skipif(why_not_from_outside() is not None, reason=why_not_from_outside() or "")
FIRST = (os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, 50)
SECOND = (os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, 49)
THIRD = (os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, 48)
ORDINARY = (os.SCHED_OTHER, 0)
PATIENCE_S = 60.0
BEAT = """
import subprocess, sys, threading
begun = threading.Event()
def go_on():
    begun.set()
    threading.Event().wait()
threading.Thread(target=go_on, daemon=True).start()
begun.wait()
print("begun", flush=True)
sys.stdin.readline()
child = subprocess.Popen([sys.executable, "-c", "import sys; print('child', flush=True); sys.stdin.read()"])
child.wait()
"""


@pytest.fixture(autouse=True)
def labs_do_not_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real_time, "labs_take_it", lambda: False)


@contextmanager
def process(*words: str) -> Iterator["subprocess.Popen[str]"]:
    argv = [sys.executable, "-c", BEAT, *words]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as started:
        try:
            assert started.stdout is not None
            assert started.stdout.readline() == "begun\n"
            yield started
        finally:
            started.kill()


def terms(thread: int) -> tuple[int, int]:
    return os.sched_getscheduler(thread), os.sched_getparam(thread).sched_priority


def others_of(pid: int) -> list[int]:
    return [int(task.name) for task in Path(f"/proc/{pid}/task").iterdir() if int(task.name) != pid]


@allowed
def test_a_beat_its_threads_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    given = RealTime()
    with process("gapless.sentinel.beat") as beat, process("gapless.sentinel.beats") as other:
        given.look()
        (thread,) = others_of(beat.pid)
        assert (terms(beat.pid), terms(thread)) == (FIRST, SECOND)
        assert terms(other.pid) == ORDINARY
        given.look()
        assert (terms(beat.pid), terms(thread)) == (FIRST, SECOND)
        assert beat.stdin is not None
        assert beat.stdout is not None
        beat.stdin.write("\n")
        beat.stdin.flush()
        assert beat.stdout.readline() == "child\n"
        (child,) = Path(f"/proc/{beat.pid}/task/{beat.pid}/children").read_text().split()
        assert terms(int(child)) == ORDINARY, "what a beat starts is ordinary"
    given.look()  # both are gone
    assert given.got == FROM_OUTSIDE
    assert capsys.readouterr().out == "  real-time priority: given from outside\n", "it is said once"


@allowed
def test_the_prober_where_probes_are_to_be_punctual_and_less_than_a_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    given = RealTime()
    with process(BEAT_MODULE) as beat, process(Traffic.module) as prober:
        given.look()
        assert terms(prober.pid) == ORDINARY
        given.paces_probes = True
        given.look()
        assert terms(prober.pid) == THIRD < terms(beat.pid)
    assert given.words == "real-time priority: given from outside; the prober had it in drains, below the beats"
    monkeypatch.setattr(real_time, "labs_take_it", lambda: True)
    given = RealTime()
    given.paces_probes = True
    with process(BEAT_MODULE) as beat, process(Traffic.module) as prober:
        given.look()
        assert (terms(beat.pid), terms(prober.pid)) == (ORDINARY, THIRD), "beats of these labs take it themselves"


@allowed
def test_a_beat_that_becomes_one_while_it_is_looked_at_is_found() -> None:
    given = RealTime()
    shell = ["sh", "-c", f'read -r line; exec "$0" -c "print(1, flush=True); input()" {BEAT_MODULE}', sys.executable]
    with (
        subprocess.Popen(shell, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as started,
        ExitStack() as end,
    ):
        end.callback(started.kill)
        given.look()
        assert started.stdin is not None
        assert started.stdout is not None
        started.stdin.write("\n")
        started.stdin.flush()
        assert started.stdout.readline() == "1\n"
        given.look()
        assert terms(started.pid) == FIRST


@allowed
def test_while_the_block_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real_time, "LOOK_EACH_S", 0.01)
    found = threading.Event()
    monkeypatch.setattr(RealTime, "_say", lambda self, got: (setattr(self, "got", got), found.set()))
    with process(BEAT_MODULE) as beat:
        with real_time.real_time() as given:
            assert found.wait(PATIENCE_S)
        assert terms(beat.pid) == FIRST
        assert given.words == "real-time priority: given from outside"


def test_a_beat_of_somebody_else_is_left_alone() -> None:
    assert real_time._is_below_us(os.getpid())
    assert not real_time._is_below_us(os.getppid())
    assert not real_time._is_below_us(1)


def test_where_it_is_refused_nobody_looks_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = threading.Event()

    def refuse(*_: object) -> None:
        refused.set()
        raise PermissionError

    monkeypatch.setattr(real_time.os, "sched_setscheduler", refuse)
    monkeypatch.setattr(real_time, "LOOK_EACH_S", 0.01)
    with process(BEAT_MODULE) as beat, real_time.real_time() as given:
        assert refused.wait(PATIENCE_S)
        assert terms(beat.pid) == ORDINARY
    assert (given.got, given.is_wanted) == (NONE, False)
    assert capsys.readouterr().out == "real-time priority: none\n"


def test_where_labs_take_it_themselves_nothing_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(real_time, "labs_take_it", lambda: True)
    with real_time.real_time() as given:
        assert not given.is_wanted
    assert capsys.readouterr().out == "real-time priority: by the lab itself\n"
