"""What every benchmark here does alike: run a command that writes JSON, say a spread, keep the results."""

import json
import math
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Timer
from typing import Any

HERE = Path(__file__).parent
COPY_S = 0.07
"""A router's turn to have its connections copied, where the kernel's table has 262,144 buckets, and some more."""
ENDS_WITHIN_S = 60.0
"""What a command may take to end after it was told to."""


class NothingMeasuredError(SystemExit):
    """A command wrote no result. Whoever does not expect that ends with what it said."""


def measured(argv: Sequence[str], within_s: float = math.inf, hear: Callable[[str], None] | None = None) -> Any:
    """Run a command whose last argument is to be a file for JSON; what it wrote there.

    After `within_s` it is told to end (SIGTERM), and ended if it does not; what it wrote then counts. `hear` is given
    each line that it says. Raises NothingMeasuredError, with what it said, if it wrote nothing.
    """
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "result.json"
        said, status = _said([*argv, str(path)], within_s, hear)
        if not path.exists() or not path.stat().st_size:
            raise NothingMeasuredError(f"{' '.join(argv)} ended with {status}:\n{''.join(said)}")
        return json.loads(path.read_text())


def _said(argv: Sequence[str], within_s: float, hear: Callable[[str], None] | None) -> tuple[list[str], int]:
    """The lines that a command says, and its status."""
    said = []
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        try:
            with _ended_after(process, within_s):
                for line in process.stdout:
                    said.append(line)
                    if hear is not None:
                        hear(line.rstrip())
                return said, process.wait()
        except BaseException:
            process.terminate()
            raise


@contextmanager
def _ended_after(process: "subprocess.Popen[str]", within_s: float) -> Iterator[None]:
    """Whoever is slow is ended while the block lasts: first asked to, so that it can say what it has."""
    if math.isinf(within_s):
        yield
        return
    timers = [Timer(within_s, process.terminate), Timer(within_s + ENDS_WITHIN_S, process.kill)]
    for timer in timers:
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()


def spread(figures: Iterable[float | None], digits: int = 1) -> str:
    """The median (least to most) of what was measured, with so many digits behind the point."""
    values = [figure for figure in figures if figure is not None]
    if not values:
        return "–"
    middle, least, most = statistics.median(values), min(values), max(values)
    if least == most:
        return f"{middle:,g}"
    return f"{middle:,.{digits}f} ({least:,.{digits}f} to {most:,.{digits}f})"


def why_missing(package: str) -> str | None:
    """One line when a peer is not there; its Debian package has the name of its program."""
    if shutil.which(package, path="/usr/sbin:/sbin:/usr/bin:/usr/local/sbin"):
        return None
    return f"{package} is not there to compare with:  sudo apt-get install --no-install-recommends {package}"


def commit() -> str:
    """What was measured."""
    said = subprocess.run(
        ["git", "-C", str(HERE), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return said.stdout.strip() or "unknown"


def by_what() -> str:
    """The machine, and what was measured on it, as the last line of a table."""
    machine = f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"
    return f"{machine}; Gapless at {commit()}."


def write(directory: Path, what: str, text: str, figures: object, picture: str = "") -> None:
    """The table as Markdown, the figures as JSON, the picture (SVG) if there is one; named by day and commit."""
    directory.mkdir(parents=True, exist_ok=True)
    name = f"{what}-{datetime.now(UTC):%Y%m%d}-{commit()}"
    files = {"md": text, "json": json.dumps(figures, indent=1) + "\n", **({"svg": picture} if picture else {})}
    for kind, content in files.items():
        (directory / f"{name}.{kind}").write_text(content)
    print(f"written to {directory / name}, as .{', .'.join(files)}")
