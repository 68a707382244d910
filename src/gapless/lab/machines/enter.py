"""Entering the lab: a program runs in fresh user, pid, mount and network namespaces. No root is needed.

Everything that a lab makes (processes, namespaces, mounts, files under /run) belongs to those namespaces, so when their
pid 1 (`first`) ends, however it ends, the kernel removes it all. There is no clean-up code that could fail to run.

`unshare(1)` does most of this, but ignores SIGTERM while it waits and names only the system call when the machine
forbids it. So this module is the supervisor between the two worlds: `python -m gapless.lab.machines.enter [--register
FILE] [--parent PID] -- COMMAND...` It passes signals on, keeps the file that says where the lab is, ends with the
command's status, and ends the lab when the parent that it was given is no more, however that one ended.

The path is the same for root and for everyone else, but for one thing: whoever may raise limits allows the lab's beats
real-time priority and locked memory first, since in a user namespace only the limits count (sched(7), mlock(2)). See
user_namespaces(7) for the id maps, pid_namespaces(7) for what the end of a pid 1 means.
"""

import contextlib
import errno
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from types import FrameType

from gapless.errors import GaplessError, InvariantError, Refused, Unavailable
from gapless.lab import registry
from gapless.lab.machines import first, linux
from gapless.lab.registry import Registered
from gapless.observe import reader

FORBIDDEN = 77
"""Exit status when this machine does not allow user namespaces."""
KILL_AFTER_S = 15.0
"""How long a lab may take to end after SIGTERM before it is ended with SIGKILL, which cleans up as well."""
ENTERED_WITHIN_S = 60.0
"""While the kernel takes the namespaces of a large lab apart, a new one may wait for it."""
REAL_TIME_PRIORITY = 50
"""The highest that a process of the lab may take, where that can be allowed: the beat's."""
LAB_DIR = Path("/run/lab")
"""Inside: everything the lab writes. /run is a private tmpfs there."""


def command(argv: Sequence[str], *, register: Path | None = None, outlives_us: bool = True) -> list[str]:
    """The command line that runs `argv` in a fresh lab. `register`: a file that exists while the lab does.

    Not `outlives_us`: the lab ends with this process, which starts it and waits for it.
    """
    options = ["--register", str(register)] if register else []
    options += [] if outlives_us else ["--parent", str(os.getpid())]
    return [sys.executable, "-m", "gapless.lab.machines.enter", *options, "--", *argv]


def call(entry: str, argument: object) -> list[str]:
    """An `argv` for `command`: calls `entry` ("module:function") with `argument`, JSON in between."""
    return [sys.executable, "-m", "gapless.lab.machines.enter", "--call", entry, json.dumps(argument)]


@cache
def is_inside() -> bool:
    """Whether this process is in a lab's namespaces: root of nothing but itself, with the lab's own /run."""
    ids = Path("/proc/self/uid_map").read_text().split()
    return ids[0] == "0" and ids[2] == "1" and LAB_DIR.is_dir()


def require_inside() -> None:
    """Raise InvariantError outside: what the lab does to networks must never happen to the machine's own."""
    if not is_inside():
        raise InvariantError("this belongs into a lab's namespaces, and would have changed the machine's own networks")


def why_forbidden() -> str | None:
    """Try it: None where a lab can be entered, else one line that says what is in the way and what to do. Blocks."""
    try:
        try_it()
    except (Refused, Unavailable) as error:
        return str(error)
    return None


def try_it() -> None:
    """Enter a lab, and end it. Raises Refused where this machine forbids it, Unavailable where nothing says that it
    does; each in one line. Blocks.
    """
    argv = command(["/bin/true"])
    try:
        tried = subprocess.run(argv, capture_output=True, text=True, timeout=ENTERED_WITHIN_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(
            f"the lab's namespaces could not be entered within {ENTERED_WITHIN_S:g} s: this machine is busy, maybe "
            "with taking an earlier lab apart; try again in a minute"
        ) from error
    if tried.returncode == 0:
        return
    said = tried.stderr.strip().splitlines()
    why = said[-1] if said else "the lab's namespaces cannot be entered"
    raise Refused(why) if tried.returncode == FORBIDDEN else Unavailable(why)


def _advice(failure: str) -> str:
    """What to tell a person whose machine said no; `failure`: to what, and in which words."""
    restricted = (
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
        ("/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces=10000"),
    )
    for path, forbidding, setting in restricted:
        try:
            forbids = Path(path).read_text().strip() == forbidding
        except OSError:
            continue
        if forbids:
            return f"this machine forbids user namespaces; allow them with:  sudo sysctl -w {setting}"
    return (
        f"this machine forbids user namespaces ({failure}); in a container they need "
        "--security-opt seccomp=unconfined --security-opt apparmor=unconfined --cap-add SYS_ADMIN, or --privileged"
    )


def _allow_real_time() -> None:
    """Let what runs in the lab be scheduled first and lock its memory, if the caller may allow that."""
    unlimited = resource.RLIM_INFINITY
    for limit, most in ((resource.RLIMIT_RTPRIO, REAL_TIME_PRIORITY), (resource.RLIMIT_MEMLOCK, unlimited)):
        with contextlib.suppress(ValueError, OSError):  # an ordinary user: as real hosts without the capabilities
            resource.setrlimit(limit, (most, most))


def _unshare() -> None:
    uid, gid = os.geteuid(), os.getegid()
    linux.unshare(linux.CLONE_NEWUSER | linux.CLONE_NEWPID)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


def _furnish() -> None:
    """What a lab needs before its pid 1 begins: networks and mounts that nobody else sees, its supervisor neither."""
    linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWNET)
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    # Containers mask parts of /proc, and then the kernel allows no fresh one. The old one shows our processes under
    # the numbers of the pid namespace outside; `processes` reads both.
    with contextlib.suppress(PermissionError):
        linux.mount("proc", "/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    linux.mount("lab", "/run", "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=755")
    Path("/run/netns").mkdir()
    LAB_DIR.mkdir()


def _become(argv: Sequence[str], told: int) -> None:
    """In the child: furnish, then exec. Whatever fails is told through the pipe `told`, in one line."""
    try:
        linux.die_with_parent()
        signal.pthread_sigmask(signal.SIG_BLOCK, first.ENDING)
        _furnish()
        # Exec, not a call: what goes on from before the namespaces is not the lab's own, and proc(5) hides it from an
        # ordinary user who looks for /proc/PID/root.
        os.execv(sys.executable, [sys.executable, "-m", "gapless.lab.machines.first", *argv])
    except OSError as error:
        os.write(told, json.dumps([error.errno, _words(error)]).encode())
    os._exit(FORBIDDEN)


def _words(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)


def _start(argv: Sequence[str]) -> int:
    """Fork pid 1 and wait until it is itself; its pid as seen from outside."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        _become(argv, write_end)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:  # ends when the child is `first`: the descriptor closes on exec
        told = pipe.read()
    if not told:
        return child
    os.waitpid(child, 0)
    number, words = json.loads(told)
    raise Refused(_advice(words) if number in (errno.EPERM, errno.EACCES) else f"the lab cannot be set up: {words}")


def _handle_on(parent: int) -> int:
    """A descriptor that can be read when our parent has ended. Raises Refused where it has already."""
    try:
        descriptor = os.pidfd_open(parent)
    except ProcessLookupError:
        descriptor = -1
    if descriptor < 0 or os.getppid() != parent:  # its number may be another process's by now
        raise Refused("who started this lab has ended")
    return descriptor


def _wait_for_either(child: int, parent: int) -> None:
    """Return when pid 1, or the parent behind this descriptor, has ended."""
    ended = select.poll()
    ended.register(parent, select.POLLIN)
    with os.fdopen(os.pidfd_open(child), "rb", buffering=0) as handle:
        ended.register(handle, select.POLLIN)
        ended.poll()


def _supervise(child: int, parent: int | None) -> int:
    """Wait for pid 1, passing SIGTERM and SIGHUP on as SIGTERM; a terminal sends its SIGINT to the command itself.

    `parent`: a descriptor of whom the lab must not outlive.
    """

    def end(_: int = 0, __: FrameType | None = None) -> None:
        os.kill(child, signal.SIGTERM)
        signal.setitimer(signal.ITIMER_REAL, KILL_AFTER_S)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGHUP, end)
    signal.signal(signal.SIGALRM, lambda _, __: os.kill(child, signal.SIGKILL))
    if parent is not None:
        _wait_for_either(child, parent)
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            end()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status if status >= 0 else 128 - status


def _register(file: Path, child: int) -> Registered:
    """What the file says then. Raises InvalidRequest, where another lab of that name runs too; Unavailable."""
    said = Registered(supervisor=os.getpid(), started=registry.start_time(os.getpid()), pid=child, since=time.time())
    registry.write(file, said)
    return said


def _let_terminal_go() -> None:
    """A registered lab outlives the command that started it, and must not hold that one's output open."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)


def supervise(argv: Sequence[str], register: Path | None, parent: int | None) -> int:
    """Run `argv` in fresh namespaces; returns its exit status, 128 + n for a signal n. `parent`: its pid, where the lab
    ends with it.

    Changes the calling process for good (it becomes part of the user namespace): call it in a process of its own.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    handle = None if parent is None else _handle_on(parent)
    _allow_real_time()
    try:
        _unshare()
    except OSError as error:
        raise Refused(_advice(_words(error))) from error
    child = _start(argv)
    if register is None:
        return _supervise(child, handle)
    said = _register(register, child)  # where it raises, this process ends, and pid 1 with it
    try:
        _let_terminal_go()
        return _supervise(child, handle)
    finally:
        registry.remove(register, said)


def _call(entry: str, argument: str) -> int:
    module, _, name = entry.partition(":")
    return int(getattr(import_module(module), name)(json.loads(argument)) or 0)


def main() -> int:
    """`--call ENTRY JSON` (inside), or `[--register FILE] [--parent PID] -- COMMAND...` (outside)."""
    with reader.may_go():
        return _run(sys.argv[1:])


def _run(arguments: list[str]) -> int:
    try:
        if arguments[0] == "--call":
            return _call(arguments[1], arguments[2])
        before, argv = arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 :]
        options = dict(zip(before[::2], before[1::2], strict=True))
        register = Path(options["--register"]) if "--register" in options else None
        parent = int(options["--parent"]) if "--parent" in options else None
        return supervise(argv, register, parent)
    except GaplessError as error:
        print(f"gapless lab: {error}", file=sys.stderr)
        return FORBIDDEN if isinstance(error, Refused) else 1


if __name__ == "__main__":
    raise SystemExit(main())
