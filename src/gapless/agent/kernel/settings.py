"""sysctls of a namespace, as every look at a router reads them.

The kernel keeps what was found below /proc/sys/net of all namespaces under one name, and looks through it for that of
the calling thread (`proc_sys_compare`, fs/proc/proc_sysctl.c): with a thousand namespaces that takes longer than all
else. So the directories of a look are found once each, and its files from there.
"""

import os
from collections.abc import Mapping


def read(keys: Mapping[str, str]) -> dict[str, str]:
    """The sysctls below net/ of the calling thread's namespace. One that this kernel lacks reads as what is wanted."""
    values = {}
    directories: dict[str, int] = {}
    try:
        for key, wanted in keys.items():
            family, _, name = key.partition("/")
            try:
                if family not in directories:
                    directories[family] = os.open(f"/proc/sys/net/{family}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directories[family])
            except FileNotFoundError:
                values[key] = wanted
                continue
            try:
                values[key] = os.read(descriptor, 64).decode().strip()
            finally:
                os.close(descriptor)
    finally:
        for descriptor in directories.values():
            os.close(descriptor)
    return values
