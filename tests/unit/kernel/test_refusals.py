"""Which limit the kernel means, and that who meets one says so."""

import errno
import resource
import threading
from pathlib import Path

import pytest

from gapless.agent.kernel.arp import Announcer
from gapless.agent.kernel.nft import Nft
from gapless.errors import Unavailable
from gapless.kernel import refusals
from gapless.kernel.netlink import Netlink
from gapless.kernel.netns import enter
from gapless.kernel.refusals import Trying, words
from limits_met import no_descriptor_left, no_thread_more

HERE = Path("/proc/self/ns/net")


@pytest.mark.parametrize(
    ("number", "trying", "limit"),
    [
        (errno.ENFILE, Trying.ANYTHING, "fs.file-max"),
        (errno.ENFILE, Trying.START, "fs.file-max"),
        (errno.ENOMEM, Trying.NAMESPACE, "MemoryMax="),
        (errno.ENOBUFS, Trying.ANYTHING, "MemoryMax="),
        (errno.EXFULL, Trying.ANYTHING, "a Linux bridge has 1,023 ports at most"),
        (errno.ENOSPC, Trying.NAMESPACE, "user.max_net_namespaces"),
        (errno.ENOSPC, Trying.MOUNT, "fs.mount-max"),
        (errno.ENOSPC, Trying.WATCH, "fs.inotify.max_user_watches"),
        (errno.EMFILE, Trying.WATCH, "fs.inotify.max_user_instances"),
        (errno.EAGAIN, Trying.START, "TasksMax="),
    ],
)
def test_a_limit_is_named(number: int, trying: Trying, limit: str) -> None:
    assert limit in words(number, trying)


def test_what_is_no_limit_keeps_the_kernels_words() -> None:
    assert words(errno.ENOSPC) == "No space left on device"
    assert words(errno.EAGAIN) == "Resource temporarily unavailable"
    assert words(errno.EINVAL, text="it said more") == "Invalid argument (it said more)"
    assert refusals.why(OSError("no number")) == "no number"


def test_what_the_kernel_said_beside_the_number_stays() -> None:
    assert words(errno.EXFULL, text="device full").startswith("Exchange full (device full): a Linux bridge")


def test_descriptors_are_told_with_their_number() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert words(errno.EMFILE).startswith(f"Too many open files: this process may have {soft:,} at once (RLIMIT_NOFILE")


def test_whoever_opens_something_says_what_and_why() -> None:
    with (
        no_descriptor_left(),
        pytest.raises(Unavailable, match=r"^open a netlink socket: Too many open files: .* 0 at once \(RLIMIT_NOFILE"),
    ):
        Netlink()
    with (
        no_descriptor_left(),
        pytest.raises(Unavailable, match=r"^enter namespace net: Too many open files: .*RLIMIT_NOFILE"),
    ):
        enter(HERE, lambda: None)


def test_libnftables_is_not_asked_for_what_it_would_end_the_process_for() -> None:
    Nft().close()
    with no_descriptor_left(), pytest.raises(Unavailable, match=r"^open an nftables context: Too many open files: "):
        Nft()
    Nft().close()


def test_a_thread_that_cannot_be_started_says_why() -> None:
    with no_thread_more(), pytest.raises(Unavailable, match=r"^try: Resource temporarily unavailable: .*TasksMax="):
        refusals.start(threading.Thread(target=print), "try")
    with no_thread_more(), pytest.raises(Unavailable, match=r"^enter namespace net: .*TasksMax="):
        enter(HERE, lambda: None)
    with no_thread_more(), pytest.raises(Unavailable, match=r"^announce routers: .*TasksMax="):
        Announcer()
