"""sysctls of a namespace, as they are written for a new router and read at every look at one.

To find a directory of sysctls takes longer than to write one (`sysnet`), so each is found once, and its files from
there.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Final, Self

from gapless.agent.kernel.sysnet import SysNet

_ROOM_BYTES: Final = 64
_OF_TRACKING: Final = "netfilter/"
_sysnet = SysNet()


def read(keys: Mapping[str, str]) -> dict[str, str]:
    """The sysctls below net/ of the calling thread's namespace. One that this kernel lacks reads as what is wanted."""
    values = dict(keys)
    with _Net() as net:
        for key in keys:
            with contextlib.suppress(FileNotFoundError), net.opened(key, os.O_RDONLY) as descriptor:
                values[key] = os.read(descriptor, _ROOM_BYTES).decode().strip()
    return values


def write(settings: Mapping[str, str]) -> None:
    """Write sysctls below net/ of the calling thread's namespace; one that this kernel lacks is left out."""
    with _Net() as net:
        for key, value in settings.items():
            with contextlib.suppress(FileNotFoundError), net.opened(key, os.O_WRONLY) as descriptor:
                os.write(descriptor, value.encode())


def written(settings: Mapping[str, str]) -> dict[str, str]:
    """As above; what the kernel made of each, read where it was written. One that is left out reads as what is wanted;
    but of those that come with connection tracking nothing is said then, since rules make the kernel load that.

    To find each file anew would cost as much as to write and to read it.
    """
    values = {key: value for key, value in settings.items() if not key.startswith(_OF_TRACKING)}
    with _Net() as net:
        for key, value in settings.items():
            with contextlib.suppress(FileNotFoundError), net.opened(key, os.O_RDWR) as descriptor:
                os.write(descriptor, value.encode())
                values[key] = os.pread(descriptor, _ROOM_BYTES, 0).decode().strip()
    return values


class _Net:
    """/proc/sys/net of the calling thread's namespace, for as long as the block lasts."""

    def __init__(self) -> None:
        self._held = contextlib.ExitStack()
        self._root: int | None = None
        self._directories: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._held.close()

    @contextlib.contextmanager
    def opened(self, key: str, flags: int) -> Iterator[int]:
        """A descriptor of a sysctl. Raises FileNotFoundError where this kernel has none of that name."""
        family, _, name = key.partition("/")
        if self._root is None:
            self._root = self._held.enter_context(_sysnet.one())
        if family not in self._directories:
            found = os.open(family, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._root)
            self._held.callback(os.close, found)
            self._directories[family] = found
        descriptor = os.open(name, flags | os.O_CLOEXEC, dir_fd=self._directories[family])
        try:
            yield descriptor
        finally:
            os.close(descriptor)
