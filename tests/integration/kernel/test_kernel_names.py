"""A router's namespace and its name: either may be there without the other, or be somebody else's."""

import contextlib
import errno
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from kernel_fixtures import NAMESPACE, QG, ROUTER_ID, TAP_A, Wires, ip, ip_json, router
from whole_router import WHOLE, works

from gapless.agent.kernel import netns
from gapless.agent.kernel.held import FIRST
from gapless.agent.reconcile import Reconciler
from gapless.errors import Unavailable
from gapless.model.router import RouterId
from limits_met import descriptors

pytestmark = pytest.mark.isolated


def test_iproute2_finds_its_way_in(host: Reconciler) -> None:
    host.reconcile(WHOLE)
    assert NAMESPACE in ip("netns list")
    said = subprocess.run(
        ["ip", "netns", "exec", NAMESPACE, "ip", "-br", "link"], capture_output=True, text=True, check=True, timeout=10
    )
    assert QG in said.stdout


def test_a_name_that_is_no_network_namespace_hides_no_router(
    wires: Wires, host: Reconciler, capsys: pytest.CaptureFixture[str]
) -> None:
    host.reconcile(WHOLE)
    odd = Path("/run/netns/qrouter-odd")
    odd.touch()
    subprocess.run(["mount", "--bind", "/proc/self/ns/uts", odd], check=True, timeout=10)
    for _ in range(3):
        assert host.running() == {ROUTER_ID}
    said = capsys.readouterr()
    assert (said.out + said.err).count("a namespace is left alone") == 1
    with pytest.raises(Unavailable, match="enter namespace qrouter-odd"):
        host.remove(RouterId("odd"))
    assert host.running() == {ROUTER_ID}
    assert works(wires)


@pytest.mark.parametrize("guarded", [False, True])
def test_a_namespace_whose_name_was_taken_has_it_again_with_all_that_is_in_it(
    wires: Wires, host: Reconciler, guarded: bool
) -> None:
    host.reconcile(WHOLE, guarded=guarded)
    before = Path("/run/netns", NAMESPACE).stat()
    ip("link add theirs0 type veth peer name theirs1", inside=NAMESPACE)
    ip(f"netns delete {NAMESPACE}")
    assert NAMESPACE not in ip("netns list")
    outcome = host.reconcile(WHOLE, guarded=guarded)
    assert (outcome.changed, outcome.what, outcome.announced) == (True, "NameNamespace", False)
    after = Path("/run/netns", NAMESPACE).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert "theirs0" in ip("link", inside=NAMESPACE)
    assert guarded or works(wires)
    assert not host.reconcile(WHOLE, guarded=guarded).changed


def test_what_else_broke_while_the_name_was_away_is_mended(wires: Wires, host: Reconciler) -> None:
    host.reconcile(WHOLE)
    ip("route delete default", inside=NAMESPACE)
    ip(f"link delete {TAP_A}")
    ip(f"netns delete {NAMESPACE}")
    outcome = host.reconcile(WHOLE)
    assert outcome.what.startswith("NameNamespace, CreatePair")
    assert works(wires)


def test_a_name_that_cannot_be_mounted_now_is_said_and_nothing_is_built_in_its_place(
    wires: Wires, host: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.reconcile(WHOLE)
    ip(f"netns delete {NAMESPACE}")

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(netns, "_mount", refuse)
        with pytest.raises(Unavailable, match="mount namespace"):
            host.reconcile(WHOLE)
        assert host.running() == {ROUTER_ID}
    assert host.reconcile(WHOLE).what == "NameNamespace"
    assert works(wires)


def test_a_name_whose_file_is_removed_while_it_is_given_back_is_given_at_the_next_look(
    wires: Wires, host: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ip netns delete` unmounts it first, and removes its file then."""
    host.reconcile(WHOLE)
    ip(f"netns delete {NAMESPACE}")
    mount = netns._mount

    def mount_too_late(source: str, target: Path, *more: object) -> None:
        target.unlink()
        mount(source, target, *more)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(netns, "_mount", mount_too_late)
        with pytest.raises(Unavailable, match=r"mount namespace .*No such file"):
            host.reconcile(WHOLE)
    assert host.reconcile(WHOLE).what == "NameNamespace"
    assert works(wires)


def test_a_name_that_is_deleted_during_a_look_is_given_back(
    wires: Wires, host: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.reconcile(WHOLE)
    before_it_is_entered(monkeypatch, lambda: ip(f"netns delete {NAMESPACE}"))
    assert host.reconcile(WHOLE).what == "NameNamespace"
    assert works(wires)


def test_a_name_that_a_listing_gave_back_during_the_look_is_looked_behind(
    wires: Wires, host: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.reconcile(WHOLE)

    def not_there_yet() -> None:
        raise FileNotFoundError

    before_it_is_entered(monkeypatch, not_there_yet)
    assert host.reconcile(WHOLE).what == ""
    assert works(wires)


def before_it_is_entered(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """For the first time from now on."""
    enter, to_come = netns.enter, [happens]

    def late(path: Path, inside: object) -> object:
        if to_come:
            to_come.pop()()
        return enter(path, inside)  # type: ignore[arg-type]

    monkeypatch.setattr(netns, "enter", late)


def test_a_name_that_is_deleted_again_and_again_is_said(host: Reconciler, monkeypatch: pytest.MonkeyPatch) -> None:
    host.reconcile(WHOLE)

    def delete_before(path: Path, _: object) -> None:
        subprocess.run(["ip", "netns", "delete", path.name], check=False, timeout=10)
        raise FileNotFoundError

    monkeypatch.setattr(netns, "enter", delete_before)
    with pytest.raises(Unavailable, match=f"the name of {NAMESPACE} is deleted again and again"):
        host.reconcile(WHOLE)


def test_a_name_of_which_nobody_told_is_given_back_when_routers_are_listed(
    wires: Wires, host: Reconciler, capsys: pytest.CaptureFixture[str]
) -> None:
    host.reconcile(WHOLE)
    subprocess.run(["umount", f"/run/netns/{NAMESPACE}"], check=True, timeout=10)
    assert host.running() == {ROUTER_ID}
    said = capsys.readouterr()
    assert "namespaces whose names were deleted have them again" in said.out + said.err
    assert not host.reconcile(WHOLE).changed
    assert works(wires)


def test_a_sweep_leaves_what_is_about_to_have_its_name_again(wires: Wires, host: Reconciler) -> None:
    host.reconcile(WHOLE)
    ip(f"netns delete {NAMESPACE}")
    host.sweep([port.network for port in (*WHOLE.ports, *((WHOLE.gateway.port,) if WHOLE.gateway else ()))])
    assert host.reconcile(WHOLE).what == "NameNamespace"
    assert works(wires)


def test_a_namespace_that_is_no_more_the_routers_is_held_no_more(wires: Wires, host: Reconciler) -> None:
    """Its name was taken by a stranger; or it lost its mark and all that was the router's in it."""
    host.reconcile(WHOLE)
    ip(f"netns delete {NAMESPACE}")
    ip(f"netns add {NAMESPACE}")
    ip("link add theirs0 type veth peer name theirs1", inside=NAMESPACE)
    assert list_held()
    with pytest.raises(Unavailable, match="was not made by Gapless"):
        host.reconcile(WHOLE)
    assert not list_held()
    ip(f"netns delete {NAMESPACE}")
    assert "CreateNamespace" in host.reconcile(WHOLE).what
    assert works(wires)


def test_a_host_that_may_hold_no_namespace_builds_them_anew_and_says_so(
    wires: Wires, host: Reconciler, capsys: pytest.CaptureFixture[str]
) -> None:
    with descriptors(FIRST):
        host.reconcile(WHOLE)
        host.reconcile(router(id=RouterId("2" * 8), ports=(), gateway=None))
    said = capsys.readouterr()
    assert (said.out + said.err).count("a namespace whose name is deleted would be built anew") == 1
    ip(f"netns delete {NAMESPACE}")
    assert "CreateNamespace" in host.reconcile(WHOLE).what
    assert works(wires)


def test_a_router_that_is_removed_while_it_has_no_name_is_held_no_more(wires: Wires, host: Reconciler) -> None:
    host.reconcile(WHOLE)
    ip(f"netns delete {NAMESPACE}")
    host.remove(ROUTER_ID)
    assert host.running() == frozenset()
    assert not list_held()
    host.reconcile(WHOLE)
    assert works(wires)


def list_held() -> list[str]:
    """Namespaces that this process has open, but for those that it is in."""
    return [
        target
        for each in Path("/proc/self/fd").iterdir()
        if int(each.name) >= FIRST and (target := os.readlink(each)).startswith("net:")  # noqa: PTH115
    ]


def test_a_namespace_that_nobody_holds_and_that_lives_on_without_its_name_makes_way(
    wires: Wires, host: Reconciler
) -> None:
    """`ip netns delete` while a process is in it, and no agent that saw it: the old one would go on answering ARP."""
    host.reconcile(WHOLE)
    process = subprocess.Popen(["ip", "netns", "exec", NAMESPACE, "sleep", "60"])
    try:
        while not is_inside(process.pid):
            assert process.poll() is None
        ip(f"netns delete {NAMESPACE}")
        host.close()
        with contextlib.closing(Reconciler(wires.settings)) as following:
            assert following.running() == {ROUTER_ID}
            following.reconcile(WHOLE)
        assert works(wires)
        inside = subprocess.run(
            ["nsenter", "-t", str(process.pid), "-n", "ip", "-br", "link"],
            capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
        assert [line.split()[0] for line in inside.stdout.splitlines()] == ["lo"]
    finally:
        process.kill()
        process.wait()


def is_inside(pid: int) -> bool:
    there, here = (os.stat(f"/proc/{who}/ns/net").st_ino for who in (pid, "self"))  # noqa: PTH116 - not a path
    return there != here


def test_what_is_left_of_a_router_without_a_name_is_removed(wires: Wires, host: Reconciler) -> None:
    host.reconcile(WHOLE)
    holding = wires.udp(NAMESPACE)  # keeps the namespace alive
    ip(f"netns delete {NAMESPACE}")
    assert host.running() == {ROUTER_ID}
    host.remove(ROUTER_ID)
    assert host.running() == frozenset()
    assert not [link for link in ip_json("link") if link["ifname"].startswith("tap")]
    holding.close()


def test_an_empty_file_of_the_name_is_in_nobodys_way(wires: Wires, host: Reconciler) -> None:
    Path("/run/netns", NAMESPACE).touch()
    assert host.running() == frozenset()
    host.reconcile(WHOLE)
    assert works(wires)


def test_an_empty_namespace_of_the_name_is_taken_over(wires: Wires, host: Reconciler) -> None:
    ip(f"netns add {NAMESPACE}")
    assert host.running() == frozenset()
    host.reconcile(WHOLE)
    assert works(wires)
    assert host.running() == {ROUTER_ID}


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_namespace_that_lost_its_mark_is_marked_again(wires: Wires, host: Reconciler, is_shared: bool) -> None:
    """For certain it is ours: an end of a tap that has the router's mark is in it, whatever else is."""
    host.reconcile(WHOLE)
    take_mark()
    if is_shared:
        ip("link add theirs0 type veth peer name theirs1", inside=NAMESPACE)
    outcome = host.reconcile(WHOLE)
    assert (outcome.what, outcome.announced) == ("ClaimNamespace", False)
    assert not host.reconcile(WHOLE).changed
    assert works(wires)


@pytest.mark.parametrize("is_known", [True, False])
def test_a_router_whose_namespace_lost_its_mark_is_removed(wires: Wires, host: Reconciler, is_known: bool) -> None:
    before = {link["ifname"] for link in ip_json("link")}
    host.reconcile(WHOLE)
    assert host.running() == {ROUTER_ID}
    take_mark()
    agent = host if is_known else Reconciler(wires.settings)
    assert agent.running() == {ROUTER_ID}
    agent.remove(ROUTER_ID)
    assert agent.running() == frozenset()
    assert NAMESPACE not in ip("netns list")
    while agent.sweep(()):
        pass
    assert {link["ifname"] for link in ip_json("link")} == before
    if not is_known:
        agent.close()


def test_a_namespace_without_a_mark_or_links_of_ours_stays_and_is_not_removed_for_ever(host: Reconciler) -> None:
    host.reconcile(router(ports=(), gateway=None))
    assert host.running() == {ROUTER_ID}
    take_mark()
    host.remove(ROUTER_ID)
    assert host.running() == frozenset()
    assert NAMESPACE in ip("netns list")


def test_taps_of_a_router_go_though_a_stranger_has_the_name_of_its_namespace(wires: Wires, host: Reconciler) -> None:
    host.reconcile(WHOLE)
    holding = wires.udp(NAMESPACE)  # keeps the namespace alive
    ip(f"netns delete {NAMESPACE}")
    ip(f"netns add {NAMESPACE}")
    ip(f"link add {QG} type veth peer name theirs0", inside=NAMESPACE)
    before = ip("-d address", inside=NAMESPACE)
    assert host.running() == {ROUTER_ID}
    host.remove(ROUTER_ID)
    assert host.running() == frozenset()
    assert not [link for link in ip_json("link") if link["ifname"].startswith("tap")]
    assert ip("-d address", inside=NAMESPACE) == before
    holding.close()


def take_mark() -> None:
    ip("link set lo alias theirs", inside=NAMESPACE)


def test_a_foreign_namespace_of_the_name_is_refused_and_untouched(wires: Wires, host: Reconciler) -> None:
    ip(f"netns add {NAMESPACE}")
    ip("link add theirs0 type veth peer name theirs1", inside=NAMESPACE)
    before = ip("-d address", inside=NAMESPACE)
    with pytest.raises(Unavailable, match="was not made by Gapless and is in use"):
        host.reconcile(WHOLE)
    host.remove(ROUTER_ID)
    assert ip("-d address", inside=NAMESPACE) == before
