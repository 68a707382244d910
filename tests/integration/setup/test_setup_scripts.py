"""scripts/: a newcomer's set-up on machines that lack something, and a .venv that is no longer good."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BARE = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""All that a login without a profile has."""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout with nothing to install."""
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / "scripts", tree / "scripts")
    (tree / "requirements").mkdir()
    (tree / "requirements/dev.txt").touch()
    (tree / "bin").mkdir()
    return tree


@pytest.fixture
def run(tree: Path) -> Run:
    """Runs a script of the tree with a bare environment; programs in the tree's bin/ come first."""

    def run(script: str, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
        argv = [str(tree / "scripts" / script), *arguments]
        path = {"PATH": f"{tree / 'bin'}:{BARE}"}
        return subprocess.run(argv, env=path | env, capture_output=True, text=True, timeout=200, check=False)

    return run


def stand_in(tree: Path, name: str, body: str) -> str:
    path = tree / "bin" / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def python(run: Run) -> str:
    return run("python").stdout.strip()


def works(tree: Path) -> bool:
    return subprocess.run([tree / ".venv/bin/python", "-c", "import pip"], check=False, timeout=30).returncode == 0


def test_the_chosen_python_is_new_enough_and_can_make_a_venv(run: Run) -> None:
    check = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"
    subprocess.run([python(run), "-c", check], check=True, timeout=30)


@pytest.mark.parametrize("asked", ["/nonexistent/python3", "/bin/false"])
def test_a_python_that_was_asked_for_and_is_none_is_named(run: Run, asked: str) -> None:
    done = run("python", PYTHON=asked)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"PYTHON={asked} is no Python 3.11 or newer that runs here\n"


def test_without_venv_an_ordinary_user_is_told_the_package(tree: Path, run: Run) -> None:
    without = stand_in(tree, "python3-bare", f'case "$*" in *ensurepip*) exit 1;; esac; exec {python(run)} "$@"')
    stand_in(tree, "id", "echo 1000")
    done = run("prerequisites", "venv", PYTHON=without)
    assert done.returncode == 1
    assert done.stderr == "Gapless needs these packages first:  sudo apt-get install python3-venv\n"


def test_root_has_it_installed_and_is_told_when_that_did_not_help(tree: Path, run: Run) -> None:
    without = stand_in(tree, "python3-bare", f'case "$*" in *ensurepip*) exit 1;; esac; exec {python(run)} "$@"')
    stand_in(tree, "id", "echo 0")
    stand_in(tree, "apt-get", f'echo "$@" >> {tree}/apt')
    done = run("prerequisites", "venv", PYTHON=without)
    assert done.returncode == 1
    assert done.stderr == "setup: still missing with the packages installed: python3-venv\n"
    assert "install -y -qq --no-install-recommends python3-venv" in (tree / "apt").read_text()


def test_packages_that_cannot_be_installed_leave_apts_words(tree: Path, run: Run) -> None:
    without = stand_in(tree, "python3-bare", f'case "$*" in *ensurepip*) exit 1;; esac; exec {python(run)} "$@"')
    stand_in(tree, "id", "echo 0")
    stand_in(tree, "apt-get", 'echo "E: no such package"; exit 100')
    done = run("prerequisites", "venv", PYTHON=without)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "E: no such package"
    assert "could not install python3-venv" in done.stderr


@pytest.mark.parametrize("user", ["0", "1000"])
def test_nobody_is_stopped_for_what_only_some_tests_use(tree: Path, run: Run, user: str) -> None:
    for name in ("ip", "nft", "ping", "unshare"):
        stand_in(tree, name, "exit 0")
    stand_in(tree, "spin", "exit 1")
    stand_in(tree, "gcc", "exit 1")
    stand_in(tree, "id", f"echo {user}")
    stand_in(tree, "apt-get", f'echo "$@" >> {tree}/apt; exit 100')
    done = run("prerequisites", "test")
    assert (done.returncode, done.stderr) == (0, "")
    last = done.stdout.splitlines()[-1]
    assert last == "setup: some tests are skipped without these packages:  sudo apt-get install spin libc6-dev"
    assert (tree / "apt").exists() == (user == "0")


@pytest.mark.parametrize("user", ["0", "1000"])
def test_nobody_is_stopped_for_peers_to_compare_with(tree: Path, run: Run, user: str) -> None:
    for name in ("ip", "nft", "ping", "unshare"):
        stand_in(tree, name, "exit 0")
    stand_in(tree, "keepalived", "exit 1")
    stand_in(tree, "conntrackd", "exit 1")
    stand_in(tree, "id", f"echo {user}")
    stand_in(tree, "apt-get", f'echo "$@" >> {tree}/apt; exit 100')
    done = run("prerequisites", "bench")
    assert (done.returncode, done.stderr) == (0, "")
    last = done.stdout.splitlines()[-1]
    said = (
        "setup: peers of Gapless are not measured without these packages:  sudo apt-get install keepalived conntrackd"
    )
    assert last == said
    assert (tree / "apt").exists() == (user == "0")


def test_a_peer_that_is_there_is_not_spoken_of(tree: Path, run: Run) -> None:
    for name in ("ip", "nft", "ping", "unshare", "keepalived", "conntrackd"):
        stand_in(tree, name, "exit 0")
    done = run("prerequisites", "bench")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_venv_that_cannot_be_made_leaves_none(tree: Path, run: Run) -> None:
    body = f'case "$*" in *"-m venv"*) mkdir -p .venv/bin; echo "no room" >&2; exit 1;; esac; exec {python(run)} "$@"'
    failing = stand_in(tree, "python3-full", body)
    done = run("setup", "dev", PYTHON=failing)
    assert done.returncode == 1
    assert "no room" in done.stderr
    assert "could not make .venv" in done.stderr
    assert not (tree / ".venv").exists()


def test_a_venv_whose_python_is_gone_is_made_again(tree: Path, run: Run) -> None:
    done = run("setup", "dev")
    assert done.returncode == 0, done.stderr
    assert works(tree)
    kept = tree / ".venv/kept"
    kept.touch()
    assert run("setup", "dev").returncode == 0
    assert kept.exists(), "a good one is left as it is"

    interpreter = tree / ".venv/bin/python"
    interpreter.unlink()
    interpreter.symlink_to("/nonexistent/python3")
    done = run("setup", "dev")
    assert done.returncode == 0, done.stderr
    assert works(tree)
    assert not kept.exists()


@pytest.mark.parametrize(
    ("behaviour", "runs", "complaint"),
    [
        ("exit 0", 4, ""),
        ('[ "$(wc -l < runs)" -lt 3 ]', 3, "chaos: failed in round 2 of 3\n"),
        ("exit 1", 1, "chaos: failed before the first round\n"),
    ],
)
def test_chaos_begins_with_what_is_thorough_elsewhere_and_goes_on_until_a_round_fails(
    tree: Path, run: Run, behaviour: str, runs: int, complaint: str
) -> None:
    (tree / ".venv/bin").mkdir(parents=True)
    stand_in(tree, "python", f'echo "$*" >> runs; {behaviour}')
    (tree / "bin/python").rename(tree / ".venv/bin/python")
    done = run("chaos", "3")
    first, *rounds = (tree / "runs").read_text().splitlines()
    assert "tests --ignore=tests/chaos -m thorough" in first
    assert [" tests/chaos -x" in one for one in rounds] == [True] * (runs - 1)
    assert (done.returncode == 0, done.stderr) == (not complaint, complaint)


@pytest.mark.parametrize("rounds", ["0", "-1", "many"])
def test_chaos_wants_a_number(run: Run, rounds: str) -> None:
    done = run("chaos", rounds)
    assert done.returncode == 2
    assert "usage" in done.stderr


@pytest.mark.parametrize("failing", ["nothing", "tests/chaos -m", "nice", "--ignore"])
def test_a_failure_of_any_of_the_runs_beside_each_other_is_told_and_fails_all(
    tree: Path, run: Run, failing: str
) -> None:
    (tree / ".venv/bin").mkdir(parents=True)
    stand_in(tree, "make", "exit 0")
    stand_in(tree, "nice", 'shift 2; exec "$@" nice')
    stand_in(tree, "python", f'echo "ran: $*"; case "$*" in *"{failing}"*) exit 3;; esac')
    (tree / "bin/python").rename(tree / ".venv/bin/python")
    done = run("test")
    assert done.stdout.count("ran: -m pytest") == 3, done.stdout
    assert done.returncode == (0 if failing == "nothing" else 3)


def a_run_that_lasts(tree: Path, first: str = "") -> None:
    """A stand-in that notes that it began, and that it was interrupted; else it ends when nobody waits any more.

    It looks often whether it is interrupted: what it would have begun in the background might lose the word to end.
    """
    (tree / ".venv/bin").mkdir(parents=True)
    stand_in(tree, "make", "exit 0")
    body = f"""
trap 'echo "$$" >> {tree}/interrupted; exit 2' INT TERM
echo "$$" >> {tree}/begun
case "$*" in *--ignore*) {first or ":"};; esac
for look in $(seq 600); do sleep 0.1; done"""
    stand_in(tree, "python", body)
    (tree / "bin/python").rename(tree / ".venv/bin/python")


def lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.parametrize(
    ("by", "interrupts"),
    [
        (signal.SIGINT, signal.SIG_DFL),
        (signal.SIGTERM, signal.SIG_DFL),
        (signal.SIGHUP, signal.SIG_DFL),
        (signal.SIGTERM, signal.SIG_IGN),
    ],
)
def test_who_ends_the_script_ends_each_run_by_it_and_it_waits_for_them(
    tree: Path, by: signal.Signals, interrupts: signal.Handlers
) -> None:
    """SIGINT is ignored where a shell without job control began it in the background."""

    def begun_by() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # Under `nohup` it is ignored, also by whoever runs these tests.
        signal.signal(signal.SIGINT, interrupts)

    a_run_that_lasts(tree)
    with subprocess.Popen(
        [tree / "scripts/test"],
        env={"PATH": f"{tree / 'bin'}:{BARE}"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=begun_by,
        start_new_session=True,
    ) as script:
        while lines(tree / "begun") < 3:
            assert script.poll() is None
            time.sleep(0.01)
        runs = [int(pid) for pid in (tree / "begun").read_text().split()]
        assert [os.getsid(pid) for pid in runs] == runs, "what a terminal sends to all reaches none of them"
        os.killpg(script.pid, by)  # as a terminal does
        _, said = script.communicate(timeout=50)
    assert (script.returncode, said) == (128 + by, "test: all runs are ended, and take down what they set up\n")
    assert lines(tree / "interrupted") == 3


def test_all_runs_end_with_the_first_one_if_that_could_not_even_begin(tree: Path, run: Run) -> None:
    a_run_that_lasts(tree, first=f'while [ "$(wc -l < {tree}/begun)" -lt 3 ]; do sleep 0.01; done; exit 2')
    assert run("test").returncode == 2
    assert lines(tree / "interrupted") == 2


def test_what_is_wrong_before_any_test_ends_it(tree: Path, run: Run) -> None:
    stand_in(tree, "make", "echo an import that is not allowed; exit 2")
    done = run("test")
    assert (done.returncode, done.stdout) == (2, "an import that is not allowed\n")
