"""A small fleet with Neutron's timing and nothing left to chance, on which a scenario is played step by step."""

from random import Random

from gapless.core.events import RouterNeeds, RouterWanted
from gapless.model.host import HostFacts, HostName, InstanceId
from gapless.model.router import FailoverMode, RouterId
from gapless.sim.machine import Machine
from gapless.sim.world import Pace, World


class Steady(Random):
    """Always the middle of what is possible, and the first of what there is to choose from."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2

    def random(self) -> float:
        return 0.99

    def choice(self, seq):  # type: ignore[no-untyped-def, override]
        return seq[0]


class Stage(World):
    """Hosts h1, h2, ... and routers r1, r2, ...; everything runs by the time the scenario begins, at 60 s."""

    def __init__(self, *, hosts: int, routers: int, capacity: int = 1000, networks: tuple[str, ...] = ()) -> None:
        """`networks`: what every host is plugged into, and every router uses."""
        super().__init__(Steady(), Pace(report_interval_s=30.0, agent_down_time_s=75.0))
        self._begun_at = 0
        self.controller_away_s = 1.0
        self._networks = networks
        for number in range(1, hosts + 1):
            self.add_host(number, capacity)
        self.begin()
        self.run_until(10)
        for number in range(1, routers + 1):
            needs = RouterNeeds(
                router_id=RouterId(f"r{number}"),
                mode=FailoverMode.RESCHEDULE,
                physical_networks=frozenset(networks),
            )
            self.want(needs)
            self.tell(RouterWanted(id=f"api-{number}", needs=needs))
        self.run_until(60)
        assert all(binding.epoch == 1 for binding in self.store.bindings.values())
        self._begun_at = len(self.story)

    def add_host(self, number: int, capacity: int = 1000) -> Machine:
        """A host that is switched off yet."""
        return self.add_machine(
            HostFacts(
                name=HostName(f"h{number}"),
                instance=InstanceId(f"{number}{number}{number}{number}0000-0000-4000-8000-000000000000"),
                capacity=capacity,
                physical_networks=self._networks,
            )
        )

    def host(self, name: str) -> Machine:
        """The machine of that name."""
        return self.machines[HostName(name)]

    def restart_after_s(self) -> float:
        return self.controller_away_s

    def run_until(self, when: float) -> None:
        """Let time pass."""
        self.agenda.run_until(when)

    def transcript(self) -> str:
        """What happened since the scenario began."""
        return "\n".join(self.story[self._begun_at :]) + "\n"

    def running(self) -> dict[str, list[str]]:
        """What is built on each host."""
        return {
            name: sorted(router_id for router_id, there in machine.kernel.items() if there.is_built)
            for name, machine in self.machines.items()
        }
