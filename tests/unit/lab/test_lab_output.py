"""Files that a lab writes at its end are refused at its beginning, or written whatever becomes of their path."""

import os
from pathlib import Path

import pytest

from gapless.errors import InvalidRequest
from gapless.lab.findings.output import Output


def test_what_was_in_the_file_is_there_until_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "report"
    file.write_bytes(b"the report of last time, which was longer")
    output = Output.opened(file, "the report")
    assert file.read_bytes() == b"the report of last time, which was longer"
    output.write(b"shorter")
    assert file.read_bytes() == b"shorter"


def test_it_is_written_where_its_path_led_to_at_the_beginning(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    output = Output.opened(tmp_path / "run" / "report", "the report")
    (tmp_path / "run").rename(tmp_path / "hidden")
    (tmp_path / "run").mkdir()
    output.write(b"found")
    assert (tmp_path / "hidden" / "report").read_bytes() == b"found"


def test_a_pipe_will_do() -> None:
    read_end, write_end = os.pipe()
    Output.opened(Path(f"/dev/fd/{write_end}"), "the report").write(b"found")
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        assert pipe.read() == b"found"


@pytest.mark.parametrize(("path", "why"), [("nowhere/report", "No such file or directory"), ("", "Is a directory")])
def test_what_cannot_be_written_is_refused_at_once(tmp_path: Path, path: str, why: str) -> None:
    with pytest.raises(InvalidRequest, match=f"the report cannot be written to .*: {why}; name another file"):
        Output.opened(tmp_path / path, "the report")


def test_a_file_that_was_made_for_it_goes_when_nothing_is_written(tmp_path: Path) -> None:
    """Also where its path leads elsewhere by then."""
    (tmp_path / "run").mkdir()
    made = Output.opened(tmp_path / "run" / "report", "the report")
    (tmp_path / "run").rename(tmp_path / "hidden")
    made.discard()
    assert list((tmp_path / "hidden").iterdir()) == []


def test_a_file_that_was_there_stays_when_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to(tmp_path / "made by its target's name")
    for name in ("empty", "link"):
        Output.opened(tmp_path / name, "the report").discard()
        assert (tmp_path / name).exists()


def test_a_file_that_somebody_wrote_meanwhile_stays(tmp_path: Path) -> None:
    made = Output.opened(tmp_path / "report", "the report")
    (tmp_path / "report").write_bytes(b"of another run")
    made.discard()
    assert (tmp_path / "report").exists()
