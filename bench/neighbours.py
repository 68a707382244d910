"""Room in the kernel's table of neighbours for a large lab: it is one table for all namespaces of a machine.

Its limits can be set only from outside of the lab, by root, and hold for everything that runs on the machine. So it is
done only on demand, and undone when the block is left. What ends the benchmark with SIGKILL leaves them raised, which
costs nothing until that many neighbours are there.
"""

import argparse
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from gapless.errors import InvalidRequest
from gapless.lab.machines import room
from gapless.lab.settings import LabSettings

FLAG = "--raise-neighbour-limits"
DIRECTORY = Path("/proc/sys/net/ipv4/neigh/default")
STATISTICS = Path("/proc/net/stat/arp_cache")


def times_full(file: Path = STATISTICS) -> int:
    """How often something found no room in the table since the machine's start; 0 where the kernel does not say.

    By whomever: other labs on the machine fill the same table.
    """
    try:
        names, *cores = file.read_text().splitlines()
    except OSError:
        return 0
    at = names.split().index("table_fulls")
    return sum(int(core.split()[at], 16) for core in cores)


def add_flag(parser: argparse.ArgumentParser) -> None:
    """The flag that `raised_if` asks for, as `raise_neighbour_limits`."""
    parser.add_argument(FLAG, action="store_true", help="as root: set the kernel's limits so that all fits, and back")


def words(times: int) -> str:
    """That something found no room so often, for people."""
    return f"this machine's table of neighbours was full {times:,} times ({FLAG})"


def fullness(times: Mapping[int, int]) -> str:
    """How often something found no room while hosts of each size were measured: a line below a table."""
    told = [f"With {size:,} routers {words(often)}" for size, often in times.items() if often]
    return f"{'. '.join(told) or 'This machine had room for all neighbours'}."


def why_no_room(settings: LabSettings, rounds: int = 1) -> str | None:
    """None where a lab fits; else one line that names the limits and the flag that sets them."""
    try:
        room.check(settings, rounds=rounds)
    except InvalidRequest as error:
        return f"{error}   (or {FLAG}, as root: sets them, and sets them back)"
    return None


@contextmanager
def raised(most: LabSettings, directory: Path = DIRECTORY, *, rounds: int = 1) -> Iterator[None]:
    """While the block lasts, the largest lab fits. Raises InvalidRequest where that is not allowed."""
    needed = room.needed(most, rounds)
    # The kernel collects from the second on, and refuses at the third: from the highest down, so that each fits.
    wanted = {"gc_thresh3": 2 * needed, "gc_thresh2": needed}
    before = {name: int((directory / name).read_text()) for name in wanted}
    try:
        for name, limit in wanted.items():
            _set(directory / name, max(limit, before[name]))
        yield
    finally:
        for name, limit in before.items():
            _set(directory / name, limit)


@contextmanager
def raised_if(asked: bool, routers: int, directory: Path = DIRECTORY) -> Iterator[None]:
    """While the block lasts, a host with so many routers fits if that was `asked`, also when SIGTERM ends the block.
    Raises InvalidRequest where that is not allowed.
    """
    if not asked:
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with raised(LabSettings(hosts=1, routers=routers), directory):
        yield


def _set(file: Path, limit: int) -> None:
    if int(file.read_text()) == limit:
        return
    try:
        file.write_text(f"{limit}\n")
    except OSError as error:
        raise InvalidRequest(f"{file} cannot be set to {limit}: {error.strerror}") from error
