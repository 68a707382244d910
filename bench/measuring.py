"""What every benchmark here does alike: run a command that writes JSON, say a spread, keep the results."""

import json
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


class NothingMeasuredError(SystemExit):
    """A command wrote no result. Whoever does not expect that ends with what it said."""


def measured(argv: Sequence[str]) -> dict[str, Any]:
    """Run a command whose last argument is to be a file for JSON; what it wrote there.

    Raises NothingMeasuredError, with what it said, if that is nothing.
    """
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "result.json"
        ended = subprocess.run([*argv, str(path)], capture_output=True, text=True, check=False)
        if not path.exists() or not path.stat().st_size:
            said = f"{' '.join(argv)} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}"
            raise NothingMeasuredError(said)
        result: dict[str, Any] = json.loads(path.read_text())
        return result


def spread(values: Sequence[float]) -> str:
    """The median (least to most)."""
    middle, least, most = statistics.median(values), min(values), max(values)
    return f"{middle:,.1f} ({least:,.1f} to {most:,.1f})" if least != most else f"{middle:,g}"


def commit() -> str:
    """What was measured."""
    said = subprocess.run(
        ["git", "-C", str(HERE), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return said.stdout.strip() or "unknown"


def write(directory: Path, what: str, text: str, figures: object, picture: str = "") -> None:
    """The table as Markdown, the figures as JSON, the picture (SVG) if there is one; named by day and commit."""
    directory.mkdir(parents=True, exist_ok=True)
    name = f"{what}-{datetime.now(UTC):%Y%m%d}-{commit()}"
    files = {"md": text, "json": json.dumps(figures, indent=1) + "\n", **({"svg": picture} if picture else {})}
    for kind, content in files.items():
        (directory / f"{name}.{kind}").write_text(content)
    print(f"written to {directory / name}, as .{', .'.join(files)}")
