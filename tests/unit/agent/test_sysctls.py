"""Settings as a new router gets them, and as a look at one reads them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gapless.agent.kernel import sysctls
from gapless.agent.kernel.sysnet import SysNet
from gapless.core.dataplane.desired import SETTINGS


def test_they_are_what_the_files_hold() -> None:
    there = [key for key in SETTINGS if (Path("/proc/sys/net") / key).exists()]
    assert there
    held = {key: (Path("/proc/sys/net") / key).read_text().strip() for key in there}
    assert sysctls.read(SETTINGS) == dict(SETTINGS) | held


def test_what_a_kernel_lacks_reads_as_what_is_wanted() -> None:
    lacked = {"ipv4/no_such_setting": "1", "no_such_family/conf/all/setting": "2", "no_such_family/other": "3"}
    assert sysctls.read(lacked) == lacked


def test_each_directory_is_looked_for_once_and_only_what_others_are_found_from_stays_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sysctls, "_sysnet", SysNet())
    directories: list[str] = []
    opened: Callable[..., int] = os.open

    def noted(path: str, flags: int, *, dir_fd: int | None = None) -> int:
        if flags & os.O_DIRECTORY:
            directories.append(path)
        return opened(path, flags, dir_fd=dir_fd)

    before = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setattr(os, "open", noted)
    for _ in range(2):
        sysctls.read({"ipv4/ip_forward": "1", "ipv4/conf/all/rp_filter": "2", "ipv4/no_such_setting": "3"})
    assert directories[0].endswith("sys/net")
    assert directories[1:] == ["ipv4", "ipv4"]
    assert len(list(Path("/proc/self/fd").iterdir())) == before + 1


def test_what_a_kernel_lacks_is_not_written_and_reads_as_what_is_wanted() -> None:
    assert sysctls.written({"ipv6/conf/all/no_such_setting": "1"}) == {"ipv6/conf/all/no_such_setting": "1"}
    sysctls.write({"ipv6/conf/all/no_such_setting": "1", "no_such_family/other": "3"})


def test_what_comes_with_connection_tracking_may_come_after_a_namespace_and_is_not_said_to_be_written() -> None:
    """The kernel loads that with the first router's rules: until then the settings are not there."""
    assert sysctls.written({"netfilter/no_such_setting": "1"}) == {}
