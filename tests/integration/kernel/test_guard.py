"""The guard, with real frames: what a tap in the guard's group may and may not do, and who opens and closes it."""

import pytest
from guard_yard import ROUTER_MAC, Yard, guard, hold, speaker, until, yard
from kernel_fixtures import ip, ip_json

from gapless.errors import Conflict, InvalidRequest, Unavailable
from gapless.model.observed import DOOMED_GROUP, GUARDED_GROUP
from gapless.sentinel.beat import clock
from gapless.sentinel.beat.guard import Guard

__all__ = ["guard", "yard"]

pytestmark = pytest.mark.isolated

STP, RESERVED = bytes.fromhex("0180c2000000"), bytes.fromhex("0180c2000003")


def test_a_standby_is_mute_and_deaf_and_no_bridge_learns_it(yard: Yard, guard: Guard) -> None:
    hold(guard)
    assert yard.is_mute()
    assert yard.is_held_back(yard.outside, yard.router)  # flooded to all ports but this one
    assert yard.learned_at(ROUTER_MAC) is None
    assert yard.is_held_back(yard.host, yard.router, ROUTER_MAC)  # from the bridge device, to one port or by flood
    assert yard.is_held_back(yard.router, yard.host, yard.host.mac)
    assert yard.learned_at(ROUTER_MAC) is None


def test_others_on_the_bridge_are_left_alone(yard: Yard, guard: Guard) -> None:
    words = yard.vm.say()
    until(lambda: words in yard.outside.heard(), "outside hears the VM")
    words = yard.outside.say(yard.vm.mac)
    until(lambda: words in yard.vm.heard(), "the VM hears outside")


@pytest.mark.parametrize("to", [STP, RESERVED])
def test_frames_that_bridges_keep_to_themselves_teach_nothing_either(yard: Yard, guard: Guard, to: bytes) -> None:
    assert yard.is_mute(to)
    assert yard.learned_at(ROUTER_MAC) is None


def test_activation_opens_and_deactivation_closes(yard: Yard, guard: Guard) -> None:
    hold(guard)
    guard.activate(["tap0", "tap-that-is-not"])
    assert not yard.is_mute()
    assert not yard.is_held_back(yard.outside, yard.router)
    assert yard.learned_at(ROUTER_MAC) == "tap0"
    guard.activate(["tap0"])
    guard.deactivate(["tap0", "never-active"])
    assert yard.is_mute()
    guard.activate(["tap0"])
    guard.withdraw()
    hold(guard)
    assert yard.is_mute()
    assert guard.active == frozenset()
    guard.check()


def test_a_tap_that_is_built_anew_is_active_at_once(yard: Yard, guard: Guard) -> None:
    hold(guard)
    guard.activate(["tap0"])
    ip("link delete tap0")
    ip(f"link add tap0 group {GUARDED_GROUP} type veth peer name net0 netns router")
    ip("link set tap0 master yard up")
    ip("link set net0 up", inside="router")
    until(lambda: ip_json("link show tap0")[0]["operstate"] == "UP", "the tap is up")
    yard.router.socket.close()
    yard.router = speaker("router", "net0")
    assert not yard.is_mute()


def test_a_tap_is_guarded_until_it_is_gone(yard: Yard, guard: Guard) -> None:
    hold(guard)
    ip(f"link set tap0 group {DOOMED_GROUP}")
    assert yard.is_mute()


def test_a_thousand_routers_at_once(yard: Yard, guard: Guard) -> None:
    names = [f"tap{number:08x}-ab" for number in range(5000)]
    guard.activate([*names, "tap0"])
    hold(guard)
    guard.check()
    assert not yard.is_mute()
    guard.deactivate(names)
    assert guard.active == {"tap0"}
    guard.check()


def test_what_cannot_be_is_refused(guard: Guard) -> None:
    with pytest.raises(InvalidRequest, match="more than 32768"):
        guard.activate(f"t{number}" for number in range(40000))
    with pytest.raises(InvalidRequest, match="name"):
        guard.activate(["a-name-of-sixteen"])
    with Guard() as unmade, pytest.raises(Unavailable, match="not made yet"):
        unmade.extend(clock.now() + 1)
    guard.check()


def test_the_kernels_refusal_is_told(guard: Guard) -> None:
    guard.close()
    with pytest.raises(Conflict, match="took no nftables transaction"):
        hold(guard)
