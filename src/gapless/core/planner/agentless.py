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

from gapless.core.ledger.fleet import Host
from gapless.core.ledger.ledger import Ledger
from gapless.core.ledger.liveness import Standing, Timing
from gapless.model.host import AgentState

STEADY_S = 10.0
"""An agent that has run for so long works. One that ends again before that is as good as none. (Or for half of the
patience, if that is less.)"""


def connected(host: Host, now: float, *, is_restarted: bool) -> None:
    """A control link is open. What the agent did while there was none is not known, so that does not count; and where
    the host itself was restarted meanwhile, nor does what was before, unless that was too long already.
    """
    host.agent, host.agent_runs_since = None, None
    if is_restarted and not host.is_agentless:
        host.agent_lacks_since = None
    if host.silence.heard_at is not None:
        _was_unheard(host, now - host.silence.heard_at, now)


def _was_unheard(host: Host, seconds: float, now: float) -> None:
    """Nothing could be heard of its agent for so long, which is over now."""
    if host.agent_lacks_since is not None:
        host.agent_lacks_since = min(now, host.agent_lacks_since + seconds)
    if seconds >= STEADY_S:
        host.agent_presumed_until = now + STEADY_S


def heard(host: Host, agent: AgentState, reason: str, now: float) -> bool:
    """A host says how its agent is, and why; whether that is news."""
    is_news, host.agent = host.agent is not agent, agent
    host.agent_trouble = reason or host.agent_trouble
    if agent is not AgentState.RUNNING:
        host.agent_runs_since = None
        if host.agent_lacks_since is None:
            host.agent_lacks_since = now
        return is_news
    if host.agent_runs_since is None:
        host.agent_runs_since = now
    if now <= host.agent_presumed_until and not host.is_agentless:
        host.agent_lacks_since = None
    return is_news


def lasts_s(host: Host, now: float) -> float | None:
    """For how long it has been agentless, from when its agent stopped working; None: it is not."""
    return now - host.agent_lacks_since if host.is_agentless and host.agent_lacks_since is not None else None


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
            _was_unheard(host, seconds, ledger.now)
            if host.agent_runs_since is not None:
                host.agent_runs_since = min(ledger.now, host.agent_runs_since + seconds)

    def judge(self, ledger: Ledger) -> None:
        """With each tick."""
        known = [host for host in ledger.fleet if _is_known(host)]
        for host in known:
            self._judge_one(ledger, host)
        if self._is_common(known):
            self._common_until = ledger.now + self._patience_s
        for host in ledger.fleet:
            is_to_be_left = host.is_agentless and ledger.now >= self._common_until
            if is_to_be_left is not host.is_to_be_left:
                host.is_to_be_left = is_to_be_left
                _changed(ledger, host)

    def _judge_one(self, ledger: Ledger, host: Host) -> None:
        if host.agent_runs_since is not None and ledger.now - host.agent_runs_since >= self._steady_s:
            host.agent_lacks_since, host.agent_trouble = None, ""
        is_agentless = host.agent_lacks_since is not None and (host.is_agentless or self._is_too_long(host, ledger.now))
        if is_agentless is not host.is_agentless:
            host.is_agentless = is_agentless
            _changed(ledger, host)
            ledger.looks.again()

    def _is_too_long(self, host: Host, now: float) -> bool:
        """One that runs just now gets its time to show that it works."""
        lacks_since = host.agent_lacks_since
        is_too_long = lacks_since is not None and now - lacks_since >= self._patience_s
        return is_too_long and host.agent is not AgentState.RUNNING

    def _is_common(self, known: list[Host]) -> bool:
        carriers = [host for host in known if host.admin_up and host.facts.capacity]
        without = [host for host in carriers if host.is_agentless or host.agent is not AgentState.RUNNING]
        return len(without) > self._share * len(carriers)


def _is_known(host: Host) -> bool:
    """Whether it says how its agent is."""
    return host.connected and host.silence.standing is Standing.ALIVE and host.agent is not None


def _changed(ledger: Ledger, host: Host) -> None:
    ledger.fleet.changed_standings.add(host.name)
    ledger.looks.at(*host.bound, *host.letting_go, *host.standbys)
