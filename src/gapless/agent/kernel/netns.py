"""Network namespaces by name: made marked, entered by threads of their own, removed without a trace.

Names live in /run/netns as iproute2 keeps them, so `ip netns exec qrouter-<id> ...` works.

Two rules. A name appears only when its namespace is set up and carries our mark (the alias of its loopback
interface), so an agent killed in between leaves nothing that has to be guessed about. And a thread that entered a
namespace does nothing else and ends: were the way back to fail, no later work could land in the wrong one.

Invariant: the threads of the rest of the program never leave the host's own namespace.
"""

import contextlib
import ctypes
import errno
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, TypeVar

from gapless.agent.kernel import links
from gapless.agent.kernel.netlink import Netlink
from gapless.errors import Unavailable
from gapless.model.observed import NAMESPACE_PREFIX
from gapless.model.router import RouterId

T = TypeVar("T")

DIRECTORY: Final = Path("/run/netns")
MARK: Final = "gapless"

_CLONE_NEWNET = 0x40000000
_MS_BIND, _MS_REC, _MS_SHARED = 0x1000, 0x4000, 0x100000
_MNT_DETACH = 0x2
_NSFS_MAGIC = 0x6E736673
_TIMEOUT_S = 30.0

_libc = ctypes.CDLL(None, use_errno=True)


class _Statfs(ctypes.Structure):
    """struct statfs; only its first word is read, the rest is room (120 bytes on 64-bit Linux)."""

    _fields_ = (("f_type", ctypes.c_long), ("room", ctypes.c_byte * 248))


def path_of(router_id: RouterId) -> Path:
    """Where the name of a router's namespace is."""
    return DIRECTORY / f"{NAMESPACE_PREFIX}{router_id}"


def prepare_directory() -> None:
    """Make /run/netns a shared mount, as iproute2 does, so that names are seen wherever its mounts are.

    Raises Unavailable, with what is missing, where this process may not.
    """
    try:
        DIRECTORY.mkdir(mode=0o755, parents=True, exist_ok=True)
        try:
            _mount("", DIRECTORY, _MS_SHARED | _MS_REC)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            _mount(str(DIRECTORY), DIRECTORY, _MS_BIND | _MS_REC)
            _mount("", DIRECTORY, _MS_SHARED | _MS_REC)
    except OSError as error:
        raise Unavailable(
            f"cannot keep network namespaces in {DIRECTORY} ({error.strerror}); the agent needs root, or a user "
            "namespace with its own mounts (unshare --user --map-root-user --net --mount)"
        ) from error


def names() -> frozenset[RouterId]:
    """Routers whose namespace's name exists, ours or not; leftover empty files are not namespaces."""
    with contextlib.suppress(FileNotFoundError), os.scandir(DIRECTORY) as entries:
        return frozenset(
            RouterId(entry.name.removeprefix(NAMESPACE_PREFIX))
            for entry in entries
            if entry.name.startswith(NAMESPACE_PREFIX) and is_namespace(Path(entry.path))
        )
    return frozenset()


def is_namespace(path: Path) -> bool:
    """Whether a namespace is mounted at `path`."""
    found = _Statfs()
    if _libc.statfs(os.fsencode(path), ctypes.byref(found)) != 0:
        return False
    return bool(found.f_type == _NSFS_MAGIC)


def create(path: Path, settings: Mapping[str, str], inside: Callable[[], T]) -> T:
    """Make a namespace with our mark and `settings`, give it its name, and return what `inside` returned in it.

    Raises Unavailable with the reason; then the name does not exist.
    """

    def make() -> T:
        _check(_libc.unshare(_CLONE_NEWNET))
        with Netlink() as netlink:
            netlink.carry_out([links.mark_loopback(MARK)])
        write_settings(settings)
        _bind_name(path)
        return inside()

    return _in_own_thread(make, f"make namespace {path.name}")


def enter(path: Path, inside: Callable[[], T]) -> T:
    """What `inside` returns in the namespace at `path`. Raises FileNotFoundError where there is none."""
    with _opened(path) as descriptor:

        def visit() -> T:
            _check(_libc.setns(descriptor, _CLONE_NEWNET))
            return inside()

        return _in_own_thread(visit, f"enter namespace {path.name}")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    if not is_namespace(path):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def delete(path: Path) -> None:
    """Take the name away. The namespace itself goes when nothing is in it any more. Raises Unavailable."""
    while is_namespace(path):
        if _libc.umount2(os.fsencode(path), _MNT_DETACH) != 0:
            raise Unavailable(f"cannot unmount {path}: {os.strerror(ctypes.get_errno())}")
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


def write_settings(settings: Mapping[str, str]) -> None:
    """Write sysctls below net/ of the calling thread's namespace; one that this kernel lacks is left out."""
    for key, value in settings.items():
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(f"/proc/sys/net/{key}", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(descriptor, value.encode())
            finally:
                os.close(descriptor)


def read_settings(keys: Mapping[str, str]) -> dict[str, str]:
    """The sysctls of the calling thread's namespace. One that this kernel lacks reads as what is wanted."""
    values = {}
    for key, wanted in keys.items():
        try:
            descriptor = os.open(f"/proc/sys/net/{key}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            values[key] = wanted
            continue
        try:
            values[key] = os.read(descriptor, 64).decode().strip()
        finally:
            os.close(descriptor)
    return values


def _bind_name(path: Path) -> None:
    """Give the calling thread's namespace its name. A plain file left there by somebody killed half-way is used."""
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o444))
    try:
        _mount("/proc/thread-self/ns/net", path, _MS_BIND)
    except OSError:
        path.unlink()
        raise


def _in_own_thread(work: Callable[[], T], about: str) -> T:
    """What `work` returns in a thread that is used for nothing else. Raises what it raises; OSError as Unavailable."""
    results: list[T] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - handed over to the caller below, unchanged
            failures.append(error)

    thread = threading.Thread(target=run, name="netns", daemon=True)
    thread.start()
    thread.join(_TIMEOUT_S)
    if thread.is_alive():
        raise Unavailable(f"{about}: the kernel did not let go within {_TIMEOUT_S:g} s")
    if failures:
        error = failures[0]
        if isinstance(error, OSError):
            raise Unavailable(f"{about}: {error.strerror or error}") from error
        raise error
    return results[0]


def _mount(source: str, target: Path, flags: int) -> None:
    _check(_libc.mount(source.encode(), os.fsencode(target), b"none", flags, None))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
