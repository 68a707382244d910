"""docs/model: the lease protocol in Spin. Without Spin or a C compiler the searches are skipped."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

MODEL = Path(__file__).parents[2] / "docs/model"
CHECK = MODEL / "check"
MISSING = 3
"""What `check` exits with when a package is missing."""
LONG_S = 1800
"""Of all states, and of all mutations, on a busy machine."""


def is_right(*options: str, searches: int, timeout_s: float) -> None:
    """Carry out the check, of so many searches. Left out where a package is missing."""
    done = subprocess.run([CHECK, *options], capture_output=True, text=True, timeout=timeout_s, check=False)
    if done.returncode == MISSING:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line[:2] for line in done.stdout.splitlines()] == ["ok"] * searches


def taken_away() -> list[str]:
    """The rules, by the names of their mutations."""
    return re.findall(r'^  (?:finds|spares) ".*" (\w+)', CHECK.read_text(), re.MULTILINE)


def test_no_two_hosts_forward_and_the_model_is_not_vacuous() -> None:
    is_right("--quick", searches=5, timeout_s=280)


@pytest.mark.thorough
@pytest.mark.timeout(LONG_S + 60)
def test_no_two_hosts_forward_with_a_second_successor_either() -> None:
    is_right(searches=7, timeout_s=LONG_S)


@pytest.mark.thorough
@pytest.mark.timeout(LONG_S + 60)
def test_two_hosts_forward_when_a_rule_is_taken_away() -> None:
    is_right("--mutations", searches=len(taken_away()), timeout_s=LONG_S)


def test_each_rule_that_is_taken_away_is_one_of_the_model() -> None:
    names = taken_away()
    assert len(names) == len(set(names)) > 10
    known = set(re.findall(r"^#(?:ifdef|ifndef|if|elif).*", (MODEL / "lease.pml").read_text(), re.MULTILINE))
    asked = {word for line in known for word in re.findall(r"\w+", line)}
    assert set(names) <= asked


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    for name in ("bash", "dirname", "sed"):
        (tmp_path / name).symlink_to(shutil.which(name) or name)
    done = subprocess.run([CHECK], env={"PATH": str(tmp_path)}, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (MISSING, "")
    assert done.stderr == "docs/model/check needs these packages first:  sudo apt-get install spin gcc libc6-dev\n"
