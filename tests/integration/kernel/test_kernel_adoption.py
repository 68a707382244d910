"""An agent takes up what an earlier one left: a router that is right as it is, and one half built or half changed."""

import threading
from dataclasses import replace
from functools import partial

import pytest
from kernel_fixtures import (
    FLOATING_IP,
    GATEWAY_IP,
    NAMESPACE,
    OUTSIDE,
    PORT_A,
    PORT_OUT,
    ROUTER_ID,
    Wires,
    ip_json,
    nft,
    router,
)
from whole_router import WHOLE, works

from gapless.agent.kernel import netns
from gapless.agent.kernel.apply import RouterHands
from gapless.agent.kernel.observe import observe_router
from gapless.agent.reconcile import Reconciler
from gapless.core.dataplane.diff import diff
from gapless.kernel.netlink import Netlink
from gapless.model.observed import KernelRouter
from gapless.model.operation import Announce, Operation
from gapless.model.router import Router

pytestmark = pytest.mark.isolated


def test_a_router_that_is_right_is_adopted_without_an_operation(wires: Wires, host: Reconciler) -> None:
    host.reconcile(WHOLE)
    before = (ip_json("address", inside=NAMESPACE), ip_json("route", inside=NAMESPACE), nft("list ruleset"))
    another = Reconciler(wires.settings)
    outcome = another.reconcile(WHOLE)
    another.close()
    assert not outcome.changed
    assert not outcome.announced
    assert before == (ip_json("address", inside=NAMESPACE), ip_json("route", inside=NAMESPACE), nft("list ruleset"))


def test_not_one_packet_is_lost_while_a_router_is_adopted_and_floating_ips_come_and_go(
    wires: Wires, host: Reconciler
) -> None:
    host.reconcile(WHOLE)
    assert works(wires)
    asking, answering = wires.udp("vm2", port=40001), wires.udp("outside", port=7000)
    done = threading.Event()
    failures: list[BaseException] = []

    def change() -> None:
        try:
            for number in range(20):
                host.reconcile(WHOLE if number % 2 else router((FLOATING_IP, "10.0.0.5"), ("203.0.113.21", "10.0.0.6")))
        except BaseException as error:  # noqa: BLE001 - shown by the test below
            failures.append(error)
        finally:
            done.set()

    changing = threading.Thread(target=change)
    changing.start()
    sent = 0
    while not done.is_set():
        asking.sendto(sent.to_bytes(4, "big"), (OUTSIDE, 7000))
        said, seen = answering.recvfrom(100)
        assert (said, seen) == (sent.to_bytes(4, "big"), (GATEWAY_IP, 40001))
        answering.sendto(said, seen)
        assert asking.recv(100) == said
        sent += 1
    changing.join()
    assert failures == []
    assert sent > 20


def desired_of(host: Reconciler, netlink: Netlink, wanted: Router) -> KernelRouter:
    """What a classic router should look like; its networks are made."""
    carried = host._networks.carry(netlink, wanted)
    return host._wanted.of(wanted, carried.bridges, False, carried.outside)


def test_routers_of_every_kind_are_listed_as_their_stand_ins_say_and_traffic_alters_nothing(
    wires: Wires, host: Reconciler
) -> None:
    assert WHOLE.gateway is not None
    bare = replace(WHOLE.gateway, port=replace(PORT_OUT, addresses=()), next_hop=None)
    for kind in (
        replace(WHOLE, admin_up=False),
        replace(WHOLE, gateway=None, floating_ips=()),
        replace(WHOLE, gateway=bare, floating_ips=()),
        router((FLOATING_IP, "10.0.0.5"), snat=False),
        WHOLE,
    ):
        host.reconcile(kind)
        with Netlink() as netlink:
            desired = desired_of(host, netlink, kind)
            with hands_of(host, netlink, kind) as hands:
                observed = observe_router(netlink, ROUTER_ID, hands.inside, desired)
        assert desired.ruleset is not None
        assert observed.ruleset is not None
        assert desired.ruleset.listed == observed.ruleset.listed != {}
    assert works(wires)
    another = Reconciler(wires.settings)
    assert not another.reconcile(WHOLE).changed
    another.close()


def full_plan(host: Reconciler, wanted: Router) -> tuple[KernelRouter, tuple[Operation, ...]]:
    """What a router should look like, and the plan from what is there."""
    with Netlink() as netlink:
        desired = desired_of(host, netlink, wanted)
        host._steering.want(ROUTER_ID, desired.steering)
        steering = host._steering.observe(ROUTER_ID)
        with hands_of(host, netlink, wanted) as hands:
            found = observe_router(netlink, ROUTER_ID, hands.inside, desired)
            return desired, diff(desired, replace(found, steering=steering))


def hands_of(host: Reconciler, netlink: Netlink, wanted: Router) -> RouterHands:
    """Those of the host, which announce nothing."""
    return RouterHands(
        netlink,
        netns.path_of(ROUTER_ID),
        ROUTER_ID,
        _close,
        host._steer,
        lambda: None,
        give_back=lambda: False,
        load=partial(host._rules.load, wanted),
        let_go=lambda inside, forgets: host._aftermath.take(ROUTER_ID, inside, forgets_unanswered=forgets),
    )


def _close(by: "object", _: list[Announce]) -> None:
    by.close()  # type: ignore[attr-defined]


def apply_prefix(host: Reconciler, wanted: Router, length: int) -> None:
    """What an agent did that was killed after so many operations."""
    _, plan = full_plan(host, wanted)
    with Netlink() as netlink, hands_of(host, netlink, wanted) as hands:
        hands.carry_out(plan[:length])


def test_an_agent_killed_after_any_operation_of_a_build_leaves_nothing_to_clear_up(
    wires: Wires, host: Reconciler
) -> None:
    _, plan = full_plan(host, WHOLE)
    assert len(plan) > 10
    for length in range(len(plan)):
        apply_prefix(host, WHOLE, length)
        assert (ROUTER_ID in host.running()) == (length > 0)
        assert host.reconcile(WHOLE).announced, f"after {length} operations"
        assert not host.reconcile(WHOLE).changed, f"after {length} operations"
        host.remove(ROUTER_ID)
        assert host.running() == frozenset()
    host.reconcile(WHOLE)
    assert works(wires)


def test_an_agent_killed_after_any_operation_of_a_change_is_taken_up(wires: Wires, host: Reconciler) -> None:
    changed = router(("203.0.113.21", "10.0.0.6"), ports=(replace(PORT_A, mac="fa:16:3e:0a:00:99"),))
    host.reconcile(WHOLE)
    _, plan = full_plan(host, changed)
    for length in range(len(plan) + 1):
        host.reconcile(WHOLE)
        apply_prefix(host, changed, length)
        assert host.reconcile(changed).announced == (length < len(plan)), f"after {length} operations"
        assert not host.reconcile(changed).changed, f"after {length} operations"
        host.reconcile(WHOLE)
    assert works(wires)
