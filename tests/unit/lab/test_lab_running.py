"""The file that says where a lab runs: believed only while its supervisor lives."""

import os
from pathlib import Path

import msgspec
import pytest

from gapless.errors import InvalidRequest
from gapless.lab import registry, running
from gapless.lab.registry import Registered


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "gapless").mkdir(mode=0o700)
    return tmp_path


def write(name: str, pid: int, started: int) -> Path:
    file = running.file_of(name)
    file.write_bytes(msgspec.json.encode(Registered(supervisor=pid, started=started, pid=pid, since=0.0)))
    return file


def test_a_lab_whose_supervisor_lives_is_found() -> None:
    write("lab", os.getpid(), registry.start_time(os.getpid()))
    found = running.find("lab")
    assert found is not None
    assert running.names() == ["lab"]


def test_a_pid_that_somebody_else_got_since_is_no_lab_and_its_file_goes() -> None:
    file = write("lab", os.getpid(), registry.start_time(os.getpid()) - 1)
    assert running.find("lab") is None
    assert not file.exists()


def test_a_file_that_is_not_whole_is_no_lab() -> None:
    running.file_of("lab").write_text("{")
    assert running.find("lab") is None


def test_asking_for_a_lab_that_does_not_run_names_those_that_do() -> None:
    write("other", os.getpid(), registry.start_time(os.getpid()))
    with pytest.raises(InvalidRequest, match="there is other"):
        running.the("lab")


@pytest.mark.parametrize("name", ["", "../lab", "a/b", "-"])
def test_a_name_is_letters_and_digits(name: str) -> None:
    with pytest.raises(InvalidRequest):
        running.file_of(name)
