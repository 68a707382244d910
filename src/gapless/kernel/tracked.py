"""How many connections the kernel tracks at most: one figure for the machine, by which each namespace is counted.

The file is there once the kernel tracks any. Only the machine's own network namespace may write it.
"""

from pathlib import Path

FILE = Path("/proc/sys/net/netfilter/nf_conntrack_max")


def most(file: Path = FILE) -> int | None:
    """How many it is now; None: none are tracked yet, or there is no limit, which the kernel says by 0."""
    try:
        number = int(file.read_text())
    except (OSError, ValueError):
        return None
    return number if number > 0 else None


def allow(number: int, file: Path = FILE) -> None:
    """Have it be so many. Raises OSError."""
    file.write_text(f"{number}\n")
