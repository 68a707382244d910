"""Where sysctls are found from, with instances of procfs that the test makes up."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gapless.agent.kernel import sysnet
from gapless.agent.kernel.sysnet import USES, SysNet


def opened_now() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def giving(monkeypatch: pytest.MonkeyPatch, give: Callable[[], int]) -> list[None]:
    """As many as instances were asked for."""
    asked: list[None] = []

    def instance() -> int:
        asked.append(None)
        return give()

    monkeypatch.setattr(sysnet, "_instance", instance)
    return asked


@pytest.fixture
def writable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the test may write there, as far as that is asked."""
    monkeypatch.setattr(sysnet, "_writable", lambda instance: instance)


def an_instance() -> int:
    return os.open("/proc/sys/net", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def refused(number: int) -> Callable[[], int]:
    def refuse() -> int:
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.usefixtures("writable")
def test_one_is_used_so_often_and_then_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, found, before = giving(monkeypatch, an_instance), SysNet(), opened_now()
    for _ in range(2 * USES):
        with found.one() as descriptor:
            assert os.stat("ipv4", dir_fd=descriptor)
    assert len(asked) == 2
    assert opened_now() == before
    with found.one():
        pass
    assert len(asked) == 3


@pytest.mark.usefixtures("writable")
def test_who_uses_one_beside_another_has_one_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, found, before = giving(monkeypatch, an_instance), SysNet(), opened_now()
    for _ in range(USES):
        with found.one() as first, found.one() as second:
            assert first != second
    assert len(asked) == 2
    assert opened_now() == before


@pytest.mark.usefixtures("writable")
def test_one_in_which_something_failed_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, found = giving(monkeypatch, an_instance), SysNet()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), found.one():
            raise ZeroDivisionError
    assert len(asked) == 1


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_who_may_not_write_there_writes_below_proc(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A profile of AppArmor that knows paths below /proc lets others be found, and not be written."""
    opened: Callable[..., int] = os.open
    theirs: list[int] = []

    def give() -> int:
        theirs.append(an_instance())
        return theirs[-1]

    def guarded(path: str, flags: int, *, dir_fd: int | None = None) -> int:
        if dir_fd in theirs and flags & os.O_ACCMODE:
            raise OSError(number, os.strerror(number))
        return opened(path, flags, dir_fd=dir_fd)

    asked, found, before = giving(monkeypatch, give), SysNet(), opened_now()
    monkeypatch.setattr(os, "open", guarded)
    for _ in range(2 * USES):
        with found.one() as descriptor:
            assert os.path.samestat(os.fstat(descriptor), Path("/proc/sys/net").stat())
            theirs.clear()
    assert len(asked) == 1
    assert opened_now() == before


@pytest.mark.parametrize(("number", "tries"), [(errno.EPERM, 1), (errno.ENOSYS, 1), (errno.ENOMEM, 2)])
def test_who_gets_none_looks_below_proc_and_asks_again_only_where_that_may_help(
    monkeypatch: pytest.MonkeyPatch, number: int, tries: int
) -> None:
    asked, found = giving(monkeypatch, refused(number)), SysNet()
    for _ in range(2 * USES):
        with found.one() as descriptor:
            assert (
                os.stat("ipv4/ip_forward", dir_fd=descriptor).st_ino
                == Path("/proc/sys/net/ipv4/ip_forward").stat().st_ino
            )
    assert len(asked) == tries
