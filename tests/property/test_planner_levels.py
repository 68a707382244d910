"""The planner decides from levels: neither order nor batching of reports matters, and a restart loses nothing."""

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from gapless.config import Liveness
from gapless.core.effects import Bind, Effect, RecordStep, StoreWithdrawal
from gapless.core.events import (
    BindingStored,
    Event,
    HostAdminChanged,
    HostConnected,
    HostReported,
    MoveRequested,
    RouterDeleted,
    RouterNeeds,
    RouterWanted,
    WithdrawalStored,
)
from gapless.core.ledger.views import StoredHost, StoredRouter
from gapless.core.planner.planner import Planner
from gapless.model.host import AgentState, HostFacts, HostName, Incarnation, InstanceId
from gapless.model.plan import Epoch, RouterReport, RouterState
from gapless.model.router import FailoverMode, RouterId
from gapless.sim.store import FakeStore

TIMING = Liveness(report_interval_s=30, agent_down_time_s=75)
HOSTS = [HostName(f"h{number}") for number in range(1, 5)]
ROUTERS = [RouterId(f"r{number}") for number in range(1, 9)]


def facts(name: HostName, capacity: int = 1000) -> HostFacts:
    return HostFacts(name=name, instance=InstanceId(f"instance-of-{name}"), capacity=capacity)


def needs(router_id: RouterId) -> RouterNeeds:
    return RouterNeeds(router_id=router_id, mode=FailoverMode.RESCHEDULE)


# Order and batching


def full_fleet() -> Planner:
    """Two routers on each host, and room for no more: whatever fails has nowhere to go."""
    hosts = [StoredHost(facts=facts(name, capacity=2), incarnation=Incarnation(1), admin_up=True) for name in HOSTS]
    routers = [
        StoredRouter(needs=needs(router_id), host=HOSTS[number // 2], epoch=Epoch(1))
        for number, router_id in enumerate(ROUTERS)
    ]
    planner = Planner(TIMING, now=0, hosts=hosts, routers=routers)
    for host in hosts:
        planner.handle(HostConnected(id="c", facts=host.facts, incarnation=Incarnation(1), admin_up=True), 0)
        planner.handle(reported(host.facts.name), 0)
    return planner


def reported(host: HostName, *routers: RouterReport, full: bool = False, version: int = 1) -> HostReported:
    agent = AgentState.RUNNING
    return HostReported(id="r", host=host, agent=agent, routers=routers, full=full, plan_version=version)


single_reports = st.lists(
    st.tuples(
        st.sampled_from(HOSTS),
        st.sampled_from(ROUTERS),
        st.sampled_from([Epoch(0), Epoch(1)]),
        st.sampled_from([RouterState.BUILDING, RouterState.ACTIVE, RouterState.FAILED, RouterState.REMOVED]),
    ),
    max_size=25,
)


@given(said=single_reports, data=st.data())
def test_reports_of_different_hosts_may_arrive_in_any_order_and_any_batches(
    said: list[tuple[HostName, RouterId, Epoch, RouterState]], data: st.DataObject
) -> None:
    by_host: dict[HostName, list[RouterReport]] = {}
    for host, router_id, epoch, state in said:
        report = RouterReport(router_id=router_id, epoch=epoch, state=state, reason="it broke")
        by_host.setdefault(host, []).append(report)

    one_by_one = full_fleet()
    for host, reports in by_host.items():
        for report in reports:
            one_by_one.handle(reported(host, report), 1)
            one_by_one.check()

    batched = full_fleet()
    left = {host: list(reports) for host, reports in by_host.items()}
    while left:
        host = data.draw(st.sampled_from(sorted(left)))
        size = data.draw(st.integers(1, len(left[host])))
        batched.handle(reported(host, *left[host][:size]), 1)
        batched.check()
        left[host] = left[host][size:]
        if not left[host]:
            del left[host]

    assert batched.router_views() == one_by_one.router_views()
    assert all(batched.plan_of(host) == one_by_one.plan_of(host) for host in HOSTS)


# Restarts


class Office:
    """A planner with a store that does at once what it is asked."""

    def __init__(self) -> None:
        self.store = FakeStore()
        self.planner = Planner(TIMING, now=0)
        self.now = 0.0

    def handle(self, event: Event) -> None:
        self.follow(self.planner.handle(event, self.now))

    def tick(self) -> None:
        self.now += 1
        self.follow(self.planner.on_deadline(self.now))

    def follow(self, effects: list[Effect]) -> None:
        self.planner.check()
        for effect in effects:
            match effect:
                case Bind(router_id=router_id, host=host, epoch=epoch):
                    before = self.store.bindings.get(router_id)
                    assert epoch == (1 if before is None else before.epoch + 1)
                    self.store.bind(effect, self.now)
                    self.handle(BindingStored(id="s", router_id=router_id, host=host, epoch=epoch))
                case StoreWithdrawal(router_id=router_id, epoch=epoch):
                    self.store.withdraw(effect)
                    self.handle(WithdrawalStored(id="s", router_id=router_id, epoch=epoch))
                case RecordStep():
                    self.store.record(effect, self.now)
                case _:
                    pass

    def plans(self, planner: Planner) -> Mapping[HostName, Mapping[RouterId, Epoch]]:
        return {host: {each: duty.epoch for each, duty in planner.plan_of(host).items()} for host in HOSTS}

    def connect(self, host: HostName) -> None:
        before = self.store.hosts.get(host)
        admin_up = before is None or before.admin_up
        stored = StoredHost(facts=facts(host), incarnation=Incarnation(1), admin_up=admin_up)
        self.store.hosts[host] = stored
        self.handle(HostConnected(id="c", facts=stored.facts, incarnation=Incarnation(1), admin_up=admin_up))
        self.handle(reported(host, version=self.planner.plan_version(host)))

    def say(self, host: HostName, router_id: RouterId, state: RouterState) -> None:
        epoch = self.plans(self.planner)[host].get(router_id, Epoch(0))
        report = RouterReport(router_id=router_id, epoch=epoch, state=state)
        self.handle(reported(host, report, version=self.planner.plan_version(host)))

    def let_go_of_everything(self, host: HostName) -> None:
        self.handle(reported(host, full=True, version=self.planner.plan_version(host)))

    def set_admin_up(self, host: HostName, admin_up: bool) -> None:
        if host in self.store.hosts:
            self.store.hosts[host] = replace(self.store.hosts[host], admin_up=admin_up)
            self.handle(HostAdminChanged(id="a", host=host, admin_up=admin_up))

    def want(self, router_id: RouterId) -> None:
        self.store.needs[router_id] = needs(router_id)
        self.handle(RouterWanted(id="w", needs=needs(router_id)))

    def delete(self, router_id: RouterId) -> None:
        if router_id in self.store.needs:
            self.store.delete_router(router_id)
            self.handle(RouterDeleted(id="d", router_id=router_id))


steps = st.lists(
    st.one_of(
        st.tuples(st.just("connect"), st.sampled_from(HOSTS)),
        st.tuples(st.just("want"), st.sampled_from(ROUTERS)),
        st.tuples(st.just("delete"), st.sampled_from(ROUTERS)),
        st.tuples(st.just("let_go_of_everything"), st.sampled_from(HOSTS)),
        st.tuples(st.just("set_admin_up"), st.sampled_from(HOSTS), st.booleans()),
        st.tuples(
            st.just("say"),
            st.sampled_from(HOSTS),
            st.sampled_from(ROUTERS),
            st.sampled_from([RouterState.ACTIVE, RouterState.FAILED, RouterState.REMOVED]),
        ),
        st.tuples(st.just("move"), st.sampled_from(ROUTERS), st.sampled_from([None, *HOSTS])),
        st.tuples(st.just("wait"), st.integers(1, 100)),
    ),
    min_size=8,
    max_size=40,
)


@settings(deadline=None)
@given(taken=steps)
def test_a_planner_made_from_the_store_at_any_moment_tells_every_host_the_same(taken: list[tuple[object, ...]]) -> None:
    office = Office()
    for name, *arguments in taken:
        match name:
            case "move":
                router_id, host = arguments
                office.handle(MoveRequested(id="m", router_id=router_id, host=host))  # type: ignore[arg-type]
            case "wait":
                for _ in range(arguments[0]):  # type: ignore[call-overload]
                    office.tick()
            case _:
                getattr(office, str(name))(*arguments)
        another = Planner(TIMING, now=office.now, hosts=office.store.hosts.values(), routers=office.store.routers())
        another.check()
        assert office.plans(another) == office.plans(office.planner)
        views = another.router_views()
        for router_id, view in office.planner.router_views().items():
            assert (views[router_id].host, views[router_id].epoch) == (view.host, view.epoch)
