"""How this kernel lists the rules that a router should have: what the rules that it has are held against (ADR 29), and
what its rules are copied from (ADR 32).

What the kernel lists depends on the library that loads the rules, and a router's own table, which may be altered, is no
witness for itself. So rules are loaded into a namespace that nobody else has, are listed there, and the namespace is
given up. Routers differ by the name of their gateway's link and by its address, and there are but a handful of rulesets
otherwise: one router stands in for all that have the same, and name and address are put right in what the kernel lists
of it. Elements of maps are no part of it: they are compared one by one.

The rule: no router is called altered for what was not proved. What one stand-in says of a second one has to be what the
kernel lists of that, or nothing is known of these rules; then they are known by their comments alone, and that is told
once. A kernel that lists otherwise does so for good. One that cannot be asked, for want of a namespace say, is asked
again when `AGAIN_S` are over; who is looked at after that is compared whole. Rules that cannot be copied are loaded as
text, as long as the agent lives.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface
from math import inf
from typing import Final

from gapless.agent.kernel import netns, rulecopies, ruleset, tables
from gapless.agent.kernel.nft import Nft
from gapless.agent.kernel.rulecopies import Copied, Words, in_other_words
from gapless.agent.kernel.tables import Chain
from gapless.core.dataplane.desired import gateway_link
from gapless.errors import Unavailable
from gapless.kernel.netlink import NETFILTER, Netlink
from gapless.kernel.transactions import Message
from gapless.model.network import Network, NetworkId, NetworkType, PortId
from gapless.model.observed import Ruleset
from gapless.model.router import FloatingIp, Gateway, Router, RouterId, RouterPort
from gapless.observe.log import get_logger

_NAME_BYTES: Final = 16
"""How long an interface's name is in a rule, with its zeros (IFNAMSIZ)."""
_STAND_INS: Final = (
    (PortId("stand-in--a"), IPv4Address("203.0.113.254")),
    (PortId("stand-in--b"), IPv4Address("198.51.100.253")),
)
"""Ports and addresses that no other bytes of a rule look like."""
_ROUTER: Final = RouterId("stand-in")
_NETWORK: Final = Network(id=NetworkId("stand-in"), type=NetworkType.FLAT, mtu=1500, physical_network="")
_FLOATING: Final = FloatingIp(id="", address=IPv4Address("203.0.113.1"), fixed_address=IPv4Address("198.51.100.1"))
_OTHERWISE: Final = "the kernel lists rules that differ by a name and an address in some other way, too"

AGAIN_S: Final = 60.0
"""After a failure to list rules; each try costs a thread, two namespaces and two transactions."""


Parts = Mapping[str, tuple[bytes, ...]]


@dataclass(slots=True)
class _Kind:
    """Routers that have the same rules but for names and addresses."""

    turn: threading.Lock = field(default_factory=threading.Lock)
    """Of who finds out how they are listed. Who needs to know waits for that: some milliseconds, and its router is
    compared whole with the first look."""
    parts: Parts | None = None
    """Of each chain, what its digest is of (`ruleset.listed_parts`)."""
    ask_at: float = -inf
    """Until then the kernel is not asked again."""
    is_told: bool = False
    """That nothing is known of them."""
    copied: Copied | None = None
    was_copied: bool = False
    """That was tried."""


class Reference:
    """What is known of rulesets, by the router that stands in for others. Thread-safe."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._kinds: dict[Router, _Kind] = {}
        self._now = now
        self._log = get_logger()

    def of(self, router: Router) -> Mapping[str, str]:
        """The digests of a router's chains as the kernel is to list them; none where that cannot be found out now."""
        stand_in = _standing_in(router, *_STAND_INS[0])
        kind = self._kinds.setdefault(stand_in, _Kind())
        with kind.turn:
            if kind.parts is None and self._now() >= kind.ask_at:
                self._find_out(kind, router)
        if kind.parts is None:
            return {}
        words = _words(stand_in, router)
        return {name: ruleset.digest_of(parts) for name, parts in _of_another(kind.parts, words).items()}

    def copy(self, router: Router, rules: Ruleset) -> list[Message] | None:
        """The messages that make the rules of a router; None where they are to be loaded as text."""
        stand_in = _standing_in(router, *_STAND_INS[0])
        kind = self._kinds.setdefault(stand_in, _Kind())
        with kind.turn:
            if not kind.was_copied:
                kind.was_copied = True
                self._try_to_copy(kind, router)
            copied = kind.copied
        return None if copied is None else copied.of_another(rules, _words(stand_in, router))

    def refused(self, router: Router, refusal: Unavailable) -> None:
        """The kernel took the text of a router's rules, and not what was copied: nor would it of others of its kind."""
        kind = self._kinds[_standing_in(router, *_STAND_INS[0])]
        with kind.turn:
            if kind.copied is not None:
                kind.copied = None
                self._tell_of_text(router, str(refusal))

    def _try_to_copy(self, kind: _Kind, router: Router) -> None:
        try:
            kind.copied = _copied(*(_standing_in(router, *each) for each in _STAND_INS))
            reason = "what the kernel lists of them does not make the same rules"
        except Unavailable as error:
            reason = str(error)
        if kind.copied is None:
            self._tell_of_text(router, reason)

    def _tell_of_text(self, router: Router, reason: str) -> None:
        self._log.warning(
            "rules of routers like this one are loaded as text, which takes longer", router=router.id, reason=reason
        )

    def _find_out(self, kind: _Kind, router: Router) -> None:
        """Ask the kernel; a failure is told once of each kind."""
        try:
            kind.parts = _proved(*(_standing_in(router, *each) for each in _STAND_INS))
            kind.ask_at, reason = inf, _OTHERWISE
        except Unavailable as error:
            kind.ask_at, reason = self._now() + AGAIN_S, str(error)
        if kind.parts is None and not kind.is_told:
            kind.is_told = True
            self._log.warning(
                "rules of routers like this one are known by their comments alone", router=router.id, reason=reason
            )


def _standing_in(router: Router, port_id: PortId, address: IPv4Address) -> Router:
    """A router with the same rules but for names and addresses, and with nothing that its rules do not depend on."""
    gateway = router.gateway if router.admin_up else None
    if gateway is not None:
        addresses = tuple(IPv4Interface(address) for _ in gateway.port.addresses[:1])
        port = RouterPort(id=port_id, network=_NETWORK, mac="", addresses=addresses)
        gateway = Gateway(port=port, next_hop=None, snat=gateway.snat and bool(addresses))
    return Router(id=_ROUTER, name="", admin_up=router.admin_up, gateway=gateway)


def _proved(stand_in: Router, other: Router) -> Parts | None:
    """How the kernel lists the rules of a stand-in; None: those of another are not listed alike. Raises Unavailable
    where it cannot be asked.
    """
    texts = [ruleset.render(it).text for it in (stand_in, other)]
    listed = netns.in_own_thread(lambda: [_listed(text) for text in texts], "list rules in a namespace apart")
    first, second = map(ruleset.listed_parts, listed)
    return first if _of_another(first, _words(stand_in, other)) == second else None


def _copied(stand_in: Router, other: Router) -> Copied | None:
    """What makes the rules of a stand-in; None: it does not make those of another, with a floating IP. Raises
    Unavailable where the kernel cannot be asked.
    """
    first, second = ruleset.render(stand_in), ruleset.render(replace(other, floating_ips=(_FLOATING,)))
    words = _words(stand_in, other)
    return netns.in_own_thread(lambda: rulecopies.proved(first, second, words), "copy rules in a namespace apart")


def _listed(text: str) -> tuple[Chain, ...]:
    """How the kernel lists the chains of these rules that packets meet by themselves. The calling thread is used for
    nothing else.
    """
    netns.go_into_new()
    with Nft() as nft, Netlink(NETFILTER) as netlink:
        nft.transact(text, "load rules to list them")
        table = tables.read(netlink, tables.IPV4, ruleset.TABLE)
    if table is None:
        raise Unavailable("rules that were loaded are not listed")
    return tuple(it for it in table.chains if it.hook)


def _of_another(parts: Parts, words: Words) -> Parts:
    """What is listed of a stand-in, as it is listed of another router with the same rules."""
    return {name: (head, *(in_other_words(rule, words) for rule in rules)) for name, (head, *rules) in parts.items()}


def _words(stand_in: Router, router: Router) -> Words:
    """What makes rules of a stand-in those of another router with the same rules."""
    return list(zip(_own_words(stand_in), _own_words(router), strict=True))


def _own_words(router: Router) -> list[bytes]:
    """What of a router's rules is its own, as the kernel has it: the name of its gateway's link, and the address."""
    if router.gateway is None or not router.admin_up:
        return []
    port = router.gateway.port
    name = gateway_link(port.id).encode().ljust(_NAME_BYTES, b"\0")
    return [name, *(held.ip.packed for held in port.addresses[:1])]
