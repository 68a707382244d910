"""The mechanism that gives tests namespaces of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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

    if namespaces.why_forbidden():
        namespaces.leave_out(namespaces.why_forbidden())
    assert b"RuntimeError: the reason" in namespaces.run_isolated(work)


def test_a_child_that_hangs_is_ended() -> None:
    def work() -> bytes:
        while True:
            os.read(os.pipe()[0], 1)

    assert namespaces.run_isolated(work, timeout_s=0.5) == b""


FORBIDDEN = """
import pytest
import inside_lab, namespaces

namespaces.why_forbidden = lambda: "no namespaces here"
inside_lab.why_forbidden = lambda: "no namespaces here"

@pytest.mark.isolated
def test_isolated(): raise AssertionError("it ran outside")

@pytest.mark.netns
def test_netns(): raise AssertionError("it ran outside")

@pytest.mark.lab
def test_lab(): raise AssertionError("it ran outside")
"""


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


def pytest_in(directory: Path, tests: str, ci: str) -> "subprocess.CompletedProcess[str]":
    """Run these tests as those of a directory whose conftest.py asks for labs."""
    (directory / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    (directory / "chaos").mkdir()
    (directory / "chaos/conftest.py").write_text((ROOT / "tests/chaos/conftest.py").read_text())
    (directory / "chaos/test_these.py").write_text(tests)
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", ROOT / "pyproject.toml"]
    options = ["--rootdir", directory, directory]
    env = {**os.environ, "CI": ci, "PYTHONPATH": str(ROOT / "tests")}
    return subprocess.run([*argv, *options], env=env, capture_output=True, text=True, timeout=200, check=False)
