"""What somebody who is tried out leaves behind on this machine: `with nothing_left(...)` fails the test that does.

Whoever is run with the ground's environment is known by it, as are those whom he starts, wherever they are: what is
temporary he can only put there. Everything else is compared with what was before: this machine's links, named network
namespaces and mounts.
"""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True, slots=True)
class Ground:
    """Directories that belong to somebody who is tried out, and to nobody else."""

    root: Path

    @property
    def places(self) -> Mapping[str, Path]:
        """Variable -> the directory that it names: the home, what is temporary, and what lasts as long as a login."""
        return {"HOME": self.root / "home", "TMPDIR": self.root / "tmp", "XDG_RUNTIME_DIR": self.root / "run"}

    @property
    def environment(self) -> Mapping[str, str]:
        """To run him with, on top of what else he needs."""
        return {name: str(place) for name, place in self.places.items()}

    def processes(self) -> list[str]:
        """Who lives that was run with this environment, or has his program or his directory here: pid and command."""
        return [found for each in Path("/proc").glob("[0-9]*") if (found := self._ours(each))]

    def _ours(self, process: Path) -> str:
        """Its pid and command; "" where it is none of these, or is over."""
        mark = f"={self.root}/".encode()
        try:
            at = [os.readlink(process / link) for link in ("cwd", "exe")]  # noqa: PTH115 - "... (deleted)" is no path
            if mark in (process / "environ").read_bytes() or any(each.startswith(f"{self.root}/") for each in at):
                return f"{process.name} {(process / 'cmdline').read_bytes().replace(bytes(1), b' ').decode()}"
        except OSError:  # over, a kernel's own, or another user's
            pass
        return ""


@contextmanager
def nothing_left(root: Path) -> Iterator[Ground]:
    """A ground in `root`, whose directories are empty. Fails when the block ends with anything left, and says what."""
    ground = Ground(root)
    for place in ground.places.values():
        place.mkdir(mode=0o700, parents=True)
    before = _machine()
    yield ground
    left = [f"process {each}" for each in ground.processes()]
    left += [f"{each}" for place in ground.places.values() for each in place.iterdir()]
    left += [f"{what}: {each}" for what, there in _machine().items() for each in there ^ before[what]]
    if left:
        pytest.fail("left behind, or changed:\n" + "\n".join(left), pytrace=False)


def _machine() -> dict[str, set[str]]:
    """What this machine has, by kind."""
    named: set[str] = set()
    with suppress(FileNotFoundError):
        named = {each.name for each in Path("/run/netns").iterdir()}
    return {
        "link": {name for _, name in socket.if_nameindex()},
        "network namespace": named,
        "mount": set(Path("/proc/self/mountinfo").read_text().splitlines()),
    }
