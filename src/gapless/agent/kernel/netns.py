"""Network namespaces by name: made marked, removed without a trace. How they are entered: see `gapless.kernel.netns`.

Names live in /run/netns as iproute2 keeps them, so `ip netns exec qrouter-<id> ...` works.

The rule: a name appears only when its namespace is set up and carries our mark (the alias of its loopback interface),
so an agent killed in between leaves nothing that has to be guessed about.
"""

import contextlib
import ctypes
import errno
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from gapless.agent.kernel import linkrequests, sysctls
from gapless.errors import Unavailable
from gapless.kernel import refusals
from gapless.kernel.netlink import Netlink
from gapless.kernel.netns import DIRECTORY, check, enter, go_into, go_to, in_own_thread, is_namespace, opened, path_of
from gapless.kernel.refusals import Trying
from gapless.model.observed import NAMESPACE_PREFIX
from gapless.model.router import RouterId

T = TypeVar("T")

__all__ = [
    "DIRECTORY",
    "MARK",
    "create",
    "delete",
    "enter",
    "give_name",
    "go_into",
    "go_into_new",
    "go_to",
    "in_own_thread",
    "is_namespace",
    "names",
    "number_here",
    "number_of",
    "opened",
    "path_of",
    "prepare_directory",
]

MARK: Final = "gapless"

_CLONE_NEWNET = 0x40000000
_MS_BIND, _MS_REC, _MS_SHARED = 0x1000, 0x4000, 0x100000
_MNT_DETACH = 0x2

_libc = ctypes.CDLL(None, use_errno=True)


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
        reason = refusals.why(error, Trying.MOUNT)
        raise Unavailable(
            f"cannot keep network namespaces in {DIRECTORY} ({reason}); the agent needs root, or a user "
            "namespace with its own mounts (unshare --user --map-root-user --net --mount)"
        ) from error


def names() -> frozenset[RouterId]:
    """Routers whose namespace's name exists, ours or not; leftover empty files are not namespaces."""
    with (
        refusals.told(f"list {DIRECTORY}"),
        contextlib.suppress(FileNotFoundError),
        os.scandir(DIRECTORY) as entries,
    ):
        return frozenset(
            RouterId(entry.name.removeprefix(NAMESPACE_PREFIX))
            for entry in entries
            if entry.name.startswith(NAMESPACE_PREFIX) and is_namespace(Path(entry.path))
        )
    return frozenset()


def number_of(router_id: RouterId) -> int | None:
    """The inode number of a router's namespace, which no other has while it lives; None: there is none."""
    try:
        return path_of(router_id).stat().st_ino
    except OSError:
        return None


def number_here() -> int:
    """That of the calling thread's namespace."""
    return os.stat("/proc/thread-self/ns/net").st_ino  # noqa: PTH116 -- for each look at a router


def create(path: Path, settings: Mapping[str, str], inside: Callable[[Netlink, dict[str, str]], T]) -> T:
    """Make a namespace with our mark and `settings`, give it its name, and return what `inside` returned in it, which
    is given a socket there, its own from then on, and what the kernel made of the settings.

    Raises Unavailable with the reason; then the name does not exist, or it was `inside` that failed.
    """
    about = f"make namespace {path.name}"

    def make() -> T:
        with refusals.told(about, Trying.NAMESPACE):
            check(_libc.unshare(_CLONE_NEWNET))
        with contextlib.ExitStack() as undo:
            netlink = undo.enter_context(Netlink())
            netlink.carry_out([linkrequests.mark_loopback(MARK)])
            written = sysctls.written(settings)
            _bind_name(path, "/proc/thread-self/ns/net")
            made = inside(netlink, written)
            undo.pop_all()
        return made

    return in_own_thread(make, about)


def go_into_new() -> None:
    """Take the calling thread, which is used for nothing else, into a new namespace, without a name, that ends when
    nobody is in it any more. Raises Unavailable.
    """
    with refusals.told("make a namespace without a name", Trying.NAMESPACE):
        check(_libc.unshare(_CLONE_NEWNET))


def delete(path: Path) -> None:
    """Take the name away. The namespace itself goes when nothing is in it any more. Raises Unavailable."""
    while is_namespace(path):
        if _libc.umount2(os.fsencode(path), _MNT_DETACH) != 0:
            raise Unavailable(f"cannot unmount {path}: {os.strerror(ctypes.get_errno())}")
    with refusals.told(f"remove {path}"):
        path.unlink(missing_ok=True)


def give_name(path: Path, descriptor: int) -> None:
    """Give the namespace that is open as `descriptor` its name. Raises Unavailable; then it has none."""
    _bind_name(path, f"/proc/self/fd/{descriptor}")


def _bind_name(path: Path, namespace: str) -> None:
    """Mount `namespace` on its name. A plain file left there by somebody killed half-way is used."""
    with refusals.told(f"make the file {path}"):
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o444))
    try:
        with refusals.told(f"mount namespace {path.name}", Trying.MOUNT):
            _mount(namespace, path, _MS_BIND)
    except Unavailable:
        with contextlib.suppress(OSError):  # Somebody else has removed it, or has mounted something there.
            path.unlink()
        raise


def _mount(source: str, target: Path, flags: int) -> None:
    check(_libc.mount(source.encode(), os.fsencode(target), b"none", flags, None))
