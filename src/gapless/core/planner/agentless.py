"""Hosts that are heard and whose agents do not work: they cannot be started, hang, or end again and again.

An agent's death is nothing: its routers go on forwarding, and the next agent is there in seconds. But where none works
for long, what breaks is not repaired, and nothing that an operator changes arrives.

The rule: a host whose agent did not run steadily for `agent_patience` is *agentless*. It gets no routers, and is no
standby where another host can be that. Its guarded routers go to their standbys, a few at a time, as in a drain: the
guard closes them, which takes no agent. Classic ones stay, since only an agent could remove them. It is so until its
agent has run for `STEADY_S`; nothing moves back.

Time counts as far as it was heard: by the controller's monotonic clock, while the host has a control link and the
controller is not paused itself. An agent that is found running after `STEADY_S` or more of such deafness may have run
all the while: it is taken at its word, and gets its patience anew. So does every agent from a controller that starts;
what had begun to move by then is stored, and goes on.

While more than `brake_share` of the hosts that carry routers lack a running agent, the cause is a common one, such as a
bad upgrade, and moving would only meet it elsewhere: nothing leaves for that. As hosts are mended one after another, it
holds until fewer have lacked one for `agent_patience`.

The invariant: this says nothing about leases, and nothing is lost by it. What waits here, forwards.
"""

from math import inf

from gapless.core.ledger.agents import STEADY_S
from gapless.core.ledger.fleet import Host
from gapless.core.ledger.ledger import Ledger
from gapless.core.ledger.liveness import Timing
from gapless.model.host import AgentState


class Agents:
    """Which hosts are agentless, and whether that has a common cause."""

    def __init__(self, timing: Timing) -> None:
        self._patience_s = timing.agent_patience_s
        self._steady_s = min(STEADY_S, self._patience_s / 2)
        self._share = timing.brake_share
        self._common_until = -inf

    def excuse(self, ledger: Ledger, seconds: float) -> None:
        """Nobody could have been heard for so long: no host has lost patience meanwhile, none has worked steadily, and
        a common cause may be there still.
        """
        self._common_until += seconds
        for host in ledger.fleet:
            host.agent.excuse(seconds, ledger.now)

    def judge(self, ledger: Ledger) -> None:
        """With each tick."""
        known = [host for host in ledger.fleet if _is_known(host)]
        for host in known:
            if host.agent.judge(ledger.now, steady_s=self._steady_s, patience_s=self._patience_s):
                _changed(ledger, host)
                ledger.looks.again()
        if self._is_common(known):
            self._common_until = ledger.now + self._patience_s
        for host in ledger.fleet:
            is_to_be_left = host.is_agentless and ledger.now >= self._common_until
            if is_to_be_left is not host.is_to_be_left:
                host.is_to_be_left = is_to_be_left
                _changed(ledger, host)

    def _is_common(self, known: list[Host]) -> bool:
        carriers = [host for host in known if host.admin_up and host.facts.capacity]
        without = [host for host in carriers if host.is_agentless or host.agent.state is not AgentState.RUNNING]
        return len(without) > self._share * len(carriers)


def _is_known(host: Host) -> bool:
    """Whether it says how its agent is."""
    return host.is_heard and host.agent.state is not None


def _changed(ledger: Ledger, host: Host) -> None:
    ledger.fleet.changed_standings.add(host.name)
    ledger.looks.at(*host.concerned)
