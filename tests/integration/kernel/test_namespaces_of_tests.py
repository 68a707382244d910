"""The mechanism that gives tests namespaces of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import little_memory
import namespaces

ROOT = Path(__file__).parents[3]


@pytest.mark.isolated
def test_a_marked_test_is_root_of_an_empty_machine() -> None:
    links = subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True, check=True, timeout=10).stdout
    assert [line.split()[0] for line in links.splitlines()] == ["lo"]
    assert os.geteuid() == 0
    assert os.getpid() == 1
    assert not Path("/run/netns").exists()


def test_a_child_that_fails_says_why() -> None:
    def work() -> bytes:
        raise RuntimeError("the reason")

    namespaces.leave_out_where_forbidden()
    assert b"RuntimeError: the reason" in namespaces.run_isolated(work)


def test_a_child_that_hangs_is_ended() -> None:
    def work() -> bytes:
        while True:
            os.read(os.pipe()[0], 1)

    assert namespaces.run_isolated(work, timeout_s=0.5) == b""


OF_EACH_KIND = """
@pytest.mark.isolated
def test_isolated(): raise AssertionError("it ran outside")

@pytest.mark.netns
def test_netns(): raise AssertionError("it ran outside")

@pytest.mark.lab
def test_lab(): raise AssertionError("it ran outside")
"""


FORBIDDEN = f"""
import pytest
import inside_lab, namespaces

namespaces.why_forbidden = lambda: "no namespaces here"
inside_lab.why_forbidden = lambda: "no namespaces here"

{OF_EACH_KIND}"""


SKIPPING = """
import pytest

@pytest.mark.lab
def test_skipped(): pytest.skip("there is no cake")

@pytest.mark.isolated
def test_skipped_too(): pytest.skip("there is no tea")

@pytest.mark.lab
@pytest.mark.xfail(reason="it is known", strict=True)
def test_known(): raise AssertionError("this is known")
"""


BUSY = f"""
import pytest
import little_memory
import namespaces
from gapless.lab.machines import enter

calm = namespaces.HAD_WITHIN_S, enter.ENTERED_WITHIN_S, enter.command
namespaces.HAD_WITHIN_S, enter.ENTERED_WITHIN_S, enter.command = 0.0, 0.01, lambda _: ["sleep", "60"]

{OF_EACH_KIND}
def test_it_is_calm_now():
    namespaces.HAD_WITHIN_S, enter.ENTERED_WITHIN_S, enter.command = calm

@pytest.mark.isolated
def test_isolated_then(): pass

@pytest.mark.netns
def test_netns_then(): pass
"""


INTERRUPTED = """
import pytest
import inside_lab

def interrupted(item): raise KeyboardInterrupt
inside_lab.run_inside = interrupted

@pytest.mark.lab
def test_lab(): pass

def test_another(): pass
"""


def test_who_interrupts_a_test_in_a_lab_interrupts_all(tmp_path: Path) -> None:
    done = pytest_in(tmp_path, INTERRUPTED, ci="")
    assert done.returncode == pytest.ExitCode.INTERRUPTED, done.stdout + done.stderr
    assert "passed" not in done.stdout
    assert "failed" not in done.stdout


@pytest.mark.parametrize(
    ("ci", "status", "outcome"), [("", 0, {"skipped": 3}), ("true", 1, {"failed": 2, "error": 1})], ids=["person", "CI"]
)
def test_where_namespaces_are_forbidden_people_skip_and_ci_fails(
    tmp_path: Path, ci: str, status: int, outcome: dict[str, int]
) -> None:
    done = pytest_in(tmp_path, FORBIDDEN, ci)
    assert done.returncode == status, done.stdout + done.stderr
    for word, count in outcome.items():
        assert f"{count} {word}" in done.stdout
    assert "it ran outside" not in done.stdout
    assert "no namespaces here" in done.stdout


@pytest.mark.netns
@pytest.mark.parametrize(
    ("ci", "status", "outcome"),
    [("", 0, {"skipped": 2, "passed": 1}), ("true", 1, {"failed": 1, "skipped": 1, "passed": 1})],
)
def test_what_was_skipped_inside_a_lab_or_in_a_namespace_did_not_pass(
    tmp_path: Path, ci: str, status: int, outcome: dict[str, int]
) -> None:
    done = pytest_in(tmp_path, SKIPPING, ci)
    assert done.returncode == status, done.stdout + done.stderr
    for word, count in outcome.items():
        assert f"{count} {word}" in done.stdout
    assert "there is no cake" in done.stdout
    assert "there is no tea" in done.stdout


@pytest.mark.netns
def test_where_it_is_not_known_whether_namespaces_are_forbidden_a_test_fails_and_the_next_one_asks_again(
    tmp_path: Path,
) -> None:
    done = pytest_in(tmp_path, BUSY, ci="")
    assert done.returncode == 1, done.stdout + done.stderr
    for outcome in ("2 failed", "1 error", "3 passed"):
        assert outcome in done.stdout
    assert "skipped" not in done.stdout
    assert "it ran outside" not in done.stdout
    assert "no namespaces were to be had within 0 s" in done.stdout
    assert "the lab's namespaces could not be entered within 0.01 s: this machine is busy" in done.stdout


def test_continuous_integration_says_that_it_is_that(tmp_path: Path) -> None:
    make = tmp_path / "make"
    make.write_text('#!/bin/sh\necho "CI=$CI make $*"\n')
    make.chmod(0o755)
    env = {name: value for name, value in os.environ.items() if name != "CI"} | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}"
    }
    done = subprocess.run([ROOT / ".ci/run"], env=env, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "CI=true make test\n"


def pytest_in(directory: Path, tests: str, ci: str) -> "subprocess.CompletedProcess[str]":
    """Run these tests as those of a directory whose conftest.py asks for labs."""
    (directory / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    (directory / "chaos").mkdir()
    (directory / "chaos/conftest.py").write_text((ROOT / "tests/chaos/conftest.py").read_text())
    (directory / "chaos/test_these.py").write_text(tests)
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", ROOT / "pyproject.toml"]
    options = ["--rootdir", directory, directory]
    env = {**os.environ, "CI": ci, "PYTHONPATH": f"{ROOT}/tests:{ROOT}/src"}
    return subprocess.run([*argv, *options], env=env, capture_output=True, text=True, timeout=200, check=False)


@pytest.mark.parametrize("ci", ["", "true"], ids=["person", "CI"])
@pytest.mark.parametrize("user", [0, 1000], ids=["root", "user"])
def test_where_memory_cannot_be_made_little_the_test_is_skipped_but_for_real_root_in_ci(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ci: str, user: int
) -> None:
    monkeypatch.setattr(little_memory, "_ROOT", tmp_path / "read-only")
    monkeypatch.setattr(little_memory, "_V1", tmp_path / "none")
    monkeypatch.setattr(little_memory, "_outer_user", lambda: user)
    monkeypatch.setenv("CI", ci)
    is_failure = ci == "true" and user == 0
    with pytest.raises(pytest.fail.Exception if is_failure else pytest.skip.Exception, match="no group of processes"):
        little_memory.group("test", kilobytes=1).__enter__()
    (tmp_path / "read-only").mkdir()
    with pytest.raises(pytest.fail.Exception if is_failure else pytest.skip.Exception, match="no controller"):
        little_memory.group("test", kilobytes=1).__enter__()
