"""Network namespaces by name, under /run/netns as `ip netns` has them: each is one machine's network stack."""

import os
from pathlib import Path

from gapless.lab.machines import enter, linux

NETNS_DIR = Path("/run/netns")
_SYSCTLS = {
    # No router advertisements, no duplicate address detection, no MLD: the lab's own nodes speak IPv4 only.
    "net/ipv6/conf/all/disable_ipv6": "1",
    "net/ipv6/conf/default/disable_ipv6": "1",
    # Ping sockets for the lab's user: the prober uses them (icmp(7)).
    "net/ipv4/ping_group_range": "0 0",
}


def path_of(name: str) -> Path:
    """Where the namespace is mounted."""
    return NETNS_DIR / name


def write_sysctls(settings: dict[str, str]) -> None:
    """Set sysctls in the calling thread's network namespace; those that this kernel lacks are left out."""
    for key, value in settings.items():
        setting = Path("/proc/sys") / key
        if setting.exists():
            setting.write_text(value)


def create(name: str, *, plain: bool = False) -> Path:
    """Make the namespace; `plain` leaves the kernel's defaults as they are (for hosts: as on a real one). Blocks.

    Raises FileExistsError for a name in use.
    """
    enter.require_inside()
    path = path_of(name)
    path.touch(exist_ok=False)

    def make() -> None:
        linux.unshare(linux.CLONE_NEWNET)
        linux.mount("/proc/thread-self/ns/net", str(path), None, linux.MS_BIND)
        if not plain:
            write_sysctls(_SYSCTLS)

    linux.in_fresh_thread(make)
    return path


def delete(name: str) -> None:
    """Take the name away; the namespace ends when its last process and descriptor do. Missing is fine. Blocks."""
    path = path_of(name)
    if path.exists():
        linux.unmount(str(path))
        path.unlink()


def is_there(path: Path) -> bool:
    """Whether a namespace is mounted at `path`. While one is made or removed, its name is that of an empty file."""
    try:
        return path.stat().st_dev != path.parent.stat().st_dev
    except FileNotFoundError:
        return False


def hold(path: Path) -> int:
    """A descriptor that keeps a namespace alive until it is closed."""
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
