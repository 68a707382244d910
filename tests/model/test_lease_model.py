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


def test_no_two_hosts_forward_and_the_model_is_not_vacuous() -> None:
    done = subprocess.run([CHECK, "--quick"], capture_output=True, text=True, timeout=280, check=False)
    if done.returncode == MISSING:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line[:2] for line in done.stdout.splitlines()] == ["ok"] * 5


def test_each_rule_that_is_taken_away_is_one_of_the_model() -> None:
    names = re.findall(r'^  (?:finds|spares) ".*" (\w+)', CHECK.read_text(), re.MULTILINE)
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
