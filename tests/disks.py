"""Disks that fill up: small ones in memory, for tests that have mounts of their own (`isolated`)."""

import errno
import subprocess
from pathlib import Path

import namespaces


def mount(directory: Path, megabytes: int) -> Path:
    """Mount a disk of this size on `directory`; it is gone with the test."""
    namespaces.require()
    options = f"size={megabytes}m,mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)], check=True, timeout=30)
    return directory


def fill(directory: Path) -> Path:
    """Leave no room at all on the disk of `directory`. Answers with the file that takes it: delete it for room."""
    ballast = directory / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    return ballast
