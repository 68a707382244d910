"""A planner's rig whose hosts hold leases, and say what their guards do."""

from collections.abc import Collection, Mapping

from planner_rig import ACTIVE, Rig, Write, facts, needs

from gapless.core.effects import AskArbiters, Bind, StorePanel, StoreWithdrawal
from gapless.core.events import (
    Event,
    HostConnected,
    HostForgotten,
    HostReported,
    PanelStored,
    RouterWanted,
    SuccessionFailed,
    SuccessionStored,
)
from gapless.core.ledger.plans import Duty
from gapless.core.ledger.views import StoredHost
from gapless.errors import StoreUnavailable
from gapless.model.host import AgentState, HostFacts, HostName, Incarnation
from gapless.model.lease import Tenure
from gapless.model.plan import (
    Burial,
    Epoch,
    Forwarding,
    MoveKind,
    RouterReport,
    RouterState,
    Takeover,
    TakeoverTimes,
)
from gapless.model.router import FailoverMode, RouterId
from gapless.model.way import WayOut, WaysSaid

TIMES = TakeoverTimes(
    granted_ms=-50, silent_ms=200, claimed_ms=201, buried_ms=203, opened_ms=204, announced_ms=230, told_ms=250
)


def tenure(host: str, incarnation: int = 1) -> Tenure:
    return Tenure(HostName(host), Incarnation(incarnation))


class StandbyRig(Rig):
    """`StandbyRig("h1", "h2")`: as a Rig; each host holds its lease at incarnation 1.

    Guards and agents are obedient: they do what their plans say as soon as they `obey`, and say so.
    """

    def __init__(self, *hosts: str | HostFacts, standbys: int = 1) -> None:
        self.incarnations: dict[str, int] = {}
        self.numbers: dict[str, int] = {}
        self.sessions: dict[str, int] = {}
        self.open: dict[str, dict[RouterId, Epoch]] = {}
        self.released: dict[str, set[RouterId]] = {}
        """Of what is open, what the host before released."""
        self.fenced: set[str] = set()
        """They are one incarnation on, and hold no lease at it yet."""
        self.agentless: dict[str, str] = {}
        """Their agents do not run, and why."""
        self.ways: dict[str, WaysSaid] = {}
        """What hosts say of their ways out; of others nothing is said."""
        self.expired: dict[str, tuple[Tenure, ...]] = {}
        """What hosts say, as arbiters, that nobody renews any more."""
        self.can_hold = True
        """There is a quorum of arbiters."""
        super().__init__(*hosts, standbys=standbys)
        self.handle_panel()

    def handle_panel(self) -> None:
        """The first tick appoints arbiters, and the next ones see it through."""
        self.pass_time(1)

    # What the store answers

    def answer(self, effect: Write) -> None:
        if isinstance(effect, Bind | StoreWithdrawal):
            super().answer(effect)
            return
        self.unanswered.remove(effect)
        event: Event
        if isinstance(effect, StorePanel):
            self.store.appoint(effect)
            event = PanelStored(id="stored", panel=effect.panel)
        else:
            try:
                self.store.succeed(effect)
                event = SuccessionStored(id="stored", router_id=effect.router_id, epoch=effect.epoch)
            except StoreUnavailable as error:
                failed = str(error)
                event = SuccessionFailed(id="lost", router_id=effect.router_id, epoch=effect.epoch, reason=failed)
        self.handle(event)

    # What hosts do

    def join(self, host: str | HostFacts, incarnation: int = 1) -> None:
        """Connect at an incarnation, hold the lease, and say so."""
        said = facts(host, lease_address=f"{host}:9698") if isinstance(host, str) else host
        name = said.name
        self.incarnations[name], self.open[name], self.released[name] = incarnation, {}, set()
        self.connect(said)
        self.guard(name)

    def connect(self, said: HostFacts) -> None:
        """Open a new control link."""
        name = said.name
        self.store.name(said, Incarnation(self.incarnations[name]))
        self.sessions[name] = self.sessions.get(name, 0) + 1
        self.numbers[name] = 0
        incarnation = Incarnation(self.incarnations[name])
        self.store.hosts[name] = StoredHost(facts=said, incarnation=incarnation, admin_up=True)
        event = HostConnected(
            id="connect", facts=said, incarnation=incarnation, admin_up=True, session=self.sessions[name]
        )
        self.handle(event)

    def guard(
        self,
        host: str,
        *routers: RouterReport,
        took: tuple[Takeover, ...] = (),
        buried: tuple[Burial, ...] = (),
        version: int | None = None,
        full: bool = False,
        leased: int | None = None,
        held: bool | None = None,
        stopping: bool = False,
        tracked: int | None = None,
        copied: Mapping[RouterId, bool | None] | None = None,
    ) -> None:
        """A report, with what its guard has open; made from the newest plan unless another version is given.

        It holds its lease at the incarnation at which it was `leased` last, unless it says that it does not.
        """
        name = HostName(host)
        newest = self.planner.plan_version(name)
        if self.store.hosts[name].facts.lease_address is None:
            leased = 0
        leased = self.incarnations[host] if leased is None else leased
        self.numbers[host] += 1
        self.handle(
            HostReported(
                id=f"report-of-{host}",
                host=name,
                agent=AgentState.RESTARTING if host in self.agentless else AgentState.RUNNING,
                agent_reason=self.agentless.get(host, ""),
                routers=routers,
                full=full,
                plan_version=newest,
                session=self.sessions[host],
                number=self.numbers[host],
                leased=Incarnation(leased),
                guard_version=newest if version is None else version,
                forwarding=tuple(
                    Forwarding(router_id=each, epoch=at, is_released=each in self.released[host])
                    for each, at in self.open[host].items()
                ),
                takeovers=took,
                buried=buried,
                is_held=(bool(leased) and self.can_hold and host not in self.fenced) if held is None else held,
                reborn=Incarnation(self.incarnations[host] + (host in self.fenced)),
                is_stopping=stopping,
                tracked_most=tracked,
                copied=copied or {},
                ways=self.ways.get(host),
                expired=self.expired.get(host, ()),
            )
        )

    def report(self, host: str, *routers: RouterReport, full: bool = False, **_: object) -> None:  # type: ignore[override]
        self.guard(host, *routers, full=full)

    def obey(self, *hosts: str) -> None:
        """Each host does what its plan says: opens, closes, builds."""
        for host in hosts:
            mine = self.incarnations[host]
            duties = dict(self.planner.plan_of(HostName(host)))
            self.open[host] = {
                router_id: duty.epoch
                for router_id, duty in duties.items()
                if duty.guarded is not None and not duty.is_standby and duty.guarded.incarnation == mine
                if host not in self.fenced
            }
            if host in self.agentless:
                self.guard(host)
                continue
            built = [
                RouterReport(router_id=each, epoch=duty.epoch, state=ACTIVE, guarded=duty.guarded is not None)
                for each, duty in duties.items()
            ]
            self.guard(host, *built, full=True)

    def settle(self, *hosts: str) -> None:
        """They obey until nothing changes any more."""
        for _ in range(6):
            self.obey(*hosts)

    def take_over(self, host: str, router_id: str, of: Tenure, *, times: TakeoverTimes = TIMES) -> None:
        """A host uses its right, and says so."""
        epoch = self.duty(host, router_id).epoch
        self.open[host][RouterId(router_id)] = epoch
        self.guard(host, took=(Takeover(router_id=RouterId(router_id), epoch=epoch, of=of, times=times),))

    def restart_host(self, host: str) -> None:
        """The host comes back at the next incarnation, with nothing open."""
        self.join(host, self.incarnations[host] + 1)

    def delete(self, host: str) -> None:
        """An operator deletes the host's agent."""
        del self.store.hosts[HostName(host)]
        self.handle(HostForgotten(id="delete", host=HostName(host)))

    def fence(self, *hosts: str) -> None:
        """Their leases lapsed: they withdrew everything, are at the next incarnation, and say so."""
        for host in hosts:
            self.fenced.add(host)
            self.open[host] = {}
            self.guard(host)

    def hold(self, *hosts: str) -> None:
        """They hold their leases again, at that incarnation."""
        for host in hosts:
            self.fenced.discard(host)
            self.incarnations[host] += 1
            self.guard(host)

    def bury(self, *arbiters: str, subject: Tenure) -> None:
        """These arbiters answer the next question on a tenure at once."""
        self._answer(arbiters, subject, is_buried=True)

    def deny(self, *arbiters: str, subject: Tenure) -> None:
        """As `bury`; they say that it is alive."""
        self._answer(arbiters, subject, is_buried=False)

    def _answer(self, arbiters: Collection[str], subject: Tenure, *, is_buried: bool) -> None:
        before = len(self._questions(subject))
        while len(self._questions(subject)) == before:
            self.pass_time(1, heard=arbiters)
        seq = self._questions(subject)[-1].seq
        for arbiter in arbiters:
            self.guard(arbiter, buried=(Burial(tenure=subject, seq=seq, is_buried=is_buried),))

    def miss(self, *arbiters: str, subjects: Collection[Tenure] = ()) -> None:
        """These arbiters say that just these tenures are not renewed any more."""
        for arbiter in arbiters:
            self.expired[arbiter] = tuple(subjects)
            self.guard(arbiter)

    def confirm_off(self, name: HostName, up_to: Incarnation) -> None:
        """An operator's word is stored."""
        self.store.confirm_off(name, up_to)

    def _questions(self, subject: Tenure) -> list[AskArbiters]:
        return [each for each in self.all_said(AskArbiters) if each.tenure == subject]

    def lose_agents(self, why: str, *hosts: str) -> None:
        """Their agents do not run any more; what they built stays, and their guards obey."""
        for host in hosts:
            self.agentless[host] = why
            self.guard(host)

    def mend_agents(self, *hosts: str) -> None:
        """They run again."""
        for host in hosts:
            del self.agentless[host]
            self.guard(host)

    def say_ways(self, *hosts: str, lost: str = "", unsure: str = "") -> None:
        """They have lost these physical networks, or cannot vouch for those, and have all others."""
        for host in hosts:
            self.ways[host] = WaysSaid(lost=tuple(map(WayOut, lost.split())), unsure=tuple(map(WayOut, unsure.split())))
            self.guard(host)

    # What routers there are

    def protect(self, *router_ids: str, **asked_for: object) -> None:
        """Create routers with standbys."""
        for each in router_ids:
            asked = needs(each, FailoverMode.STANDBY, **asked_for)
            self.store.needs[asked.router_id] = asked
            self.handle(RouterWanted(id=f"want-{each}", needs=asked))

    def set_mode(self, router_id: str, mode: FailoverMode) -> None:
        asked = needs(router_id, mode)
        self.store.needs[asked.router_id] = asked
        self.handle(RouterWanted(id="mode", needs=asked))

    # What can be seen

    def duty(self, host: str, router_id: str) -> Duty:
        return self.planner.plan_of(HostName(host))[RouterId(router_id)]

    def role(self, host: str, router_id: str) -> str:
        """In a word: active, may succeed ..., built, runs, or nothing."""
        duty = self.planner.plan_of(HostName(host)).get(RouterId(router_id))
        if duty is None:
            return "nothing"
        if duty.guarded is None:
            return "runs"
        if not duty.is_standby:
            return f"active at {duty.guarded.incarnation}"
        return f"may succeed {' and '.join(map(str, duty.guarded.after))}" if duty.guarded.after else "built"

    def standby(self, router_id: str) -> tuple[str | None, str]:
        view = self.planner.router_views()[RouterId(router_id)]
        return view.standby, view.standby_state

    def standbys_of(self, router_id: str) -> list[tuple[str, str]]:
        """By rank: each host, and how far it is."""
        return [(each.host, each.state) for each in self.planner.router_views()[RouterId(router_id)].standbys]

    def failed(self, host: str, router_id: str) -> None:
        """The agent cannot build the router."""
        epoch = self.duty(host, router_id).epoch
        said = RouterReport(router_id=RouterId(router_id), epoch=epoch, state=RouterState.FAILED, reason="it broke")
        self.guard(host, said)


def two() -> StandbyRig:
    """r1 active on h1, h2 ready to succeed."""
    rig = StandbyRig("h1", "h2")
    rig.protect("r1")
    rig.settle("h1", "h2")
    assert (rig.host("r1"), rig.state("r1"), rig.standby("r1")) == ("h1", "active", ("h2", "ready"))
    rig.forget()
    return rig


def three() -> StandbyRig:
    """As `two`, with h3 idle."""
    rig = StandbyRig("h1", "h2", "h3")
    rig.protect("r1")
    rig.settle("h1", "h2", "h3")
    rig.pass_time(5, heard=())
    rig.settle("h1", "h2", "h3")
    rig.forget()
    return rig


def binds(rig: StandbyRig) -> list[tuple[str, MoveKind]]:
    return [(each.host, each.kind) for each in rig.all_said(Bind)]
