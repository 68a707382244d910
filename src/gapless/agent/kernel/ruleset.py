"""A router's filter and NAT rules as nftables text, loaded in one transaction, and how to tell that they are there.

What the rules mean:
- Floating IPs are one-to-one NAT by two maps, in both directions, also from inside (a flow that comes in and leaves
  on tenant links gets an outside source too, or its answers would take a short cut past the translation).
- Everything else that leaves by the gateway link gets the gateway's address, when SNAT is on. Ports are kept where
  they are free: after a move, flows driven from inside go on under the same outside port.
- The router itself answers echo requests and nothing else. It stays silent to segments of connections that it does
  not know: a RST would end flows that a moved router is about to pick up again.
- Nothing untranslated leaks: packets to a floating IP never leave by the gateway link again, invalid ones are dropped.

How the kernel's copy is known to be the right one: the table holds an empty chain whose name carries a digest of the
text and of its shape. The shape is taken again from the kernel: chains with hooks, priorities and policies, and each
rule's comment, in order. What the rules do, whatever their comments say, is held against what the same kernel lists of
the same rules (`reference`). Map elements are compared one by one. So the rules need not be parsed, and nothing depends
on how some version of nftables prints them.

A namespace's kernel counts its transactions. While none has followed the last look, nothing is read again (`Seen`).

Invariant: names of interfaces only, never indices: libnftables keeps one index cache for all namespaces.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address

from gapless.agent.kernel import tables
from gapless.agent.kernel.nft import Nft
from gapless.agent.kernel.tables import Table
from gapless.core.dataplane.desired import gateway_link
from gapless.kernel.netlink import Netlink
from gapless.model.observed import Ruleset
from gapless.model.router import Router, RouterId

FAMILY, TABLE = "ip", "gapless"
_FLOATING, _FIXED = "floating_to_fixed", "fixed_to_floating"
_SEAL = "text_"


@dataclass(frozen=True, slots=True)
class _Chain:
    name: str
    type: str
    hook: str
    priority: int
    policy: str
    rules: tuple[tuple[str, str], ...]
    """Each with the comment that says what it is for."""

    def render(self) -> str:
        head = f"type {self.type} hook {self.hook} priority {self.priority}; policy {self.policy};"
        lines = (f'{rule} comment "{comment}"' for rule, comment in self.rules)
        return "\n    ".join((f"  chain {self.name} {{", head, *lines)) + "\n  }"

    @property
    def shape(self) -> str:
        comments = [comment for _, comment in self.rules]
        return _shape(self.name, self.type, self.hook, self.priority, self.policy, comments)


def render(router: Router) -> Ruleset:
    """The rules that `router` should have."""
    pairs: frozenset[tuple[IPv4Address, IPv4Address]] = frozenset()
    if router.gateway is not None and router.admin_up:
        pairs = frozenset((ip.address, ip.fixed_address) for ip in router.floating_ips)
    chains = [_input(), _forward(router)]
    if router.gateway is not None and router.admin_up:
        chains += _translation(router)
    maps = [_map(name, held) for name, held in translations(pairs).items()]
    body = "\n".join((*maps, *(chain.render() for chain in chains)))
    shape = _digest("\n".join(sorted(chain.shape for chain in chains)))
    fingerprint = f"{_digest(body)}_{shape}"
    text = f"table {FAMILY} {TABLE} {{\n{body}\n  chain {_SEAL}{fingerprint} {{ }}\n}}\n"
    return Ruleset(fingerprint=fingerprint, floating=pairs, text=text)


def _input() -> _Chain:
    rules = (
        ('iifname "lo" accept', "the router to itself"),
        ("ct state established,related accept", "answers to the router"),
        ("icmp type echo-request accept", "ping; silence otherwise"),
    )
    return _Chain("input", "filter", "input", 0, "drop", rules)


def _forward(router: Router) -> _Chain:
    if not router.admin_up:
        return _Chain("forward", "filter", "forward", 0, "drop", ())
    rules = [("ct state invalid drop", "never translated, so never let out")]
    if router.gateway is not None:
        outside = gateway_link(router.gateway.port.id)
        rules += [
            (f'iifname "{outside}" oifname "{outside}" drop', "no transit"),
            (f'oifname "{outside}" ct direction original ct status dnat drop', "floating IP without a way inside"),
        ]
    return _Chain("forward", "filter", "forward", 0, "accept", tuple(rules))


def _translation(router: Router) -> list[_Chain]:
    if router.gateway is None:
        return []
    outside = gateway_link(router.gateway.port.id)
    leaves = f'oifname "{outside}"'
    turns_round = f'iifname != "{outside}" oifname != "{outside}" ct status dnat'
    to_fixed = (f"dnat to ip daddr map @{_FLOATING}", "floating IPs, inwards")
    to_floating = f"snat to ip saddr map @{_FIXED}"
    postrouting = [
        (f"{leaves} {to_floating}", "floating IPs, outwards"),
        (f"{turns_round} {to_floating}", "floating IPs, from inside"),
    ]
    if router.gateway.port.addresses:
        to_gateway = f"snat to {router.gateway.port.addresses[0].ip}"
        postrouting.append((f"{turns_round} {to_gateway}", "to floating IPs, from inside"))
        if router.gateway.snat:
            postrouting.append((f"{leaves} {to_gateway}", "SNAT"))
    return [
        _Chain("prerouting", "nat", "prerouting", -100, "accept", (to_fixed,)),
        _Chain("output", "nat", "output", -100, "accept", (to_fixed,)),
        _Chain("postrouting", "nat", "postrouting", 100, "accept", tuple(postrouting)),
    ]


def translations(
    floating: Iterable[tuple[IPv4Address, IPv4Address]],
) -> dict[str, list[tuple[IPv4Address, IPv4Address]]]:
    """What is in each map, given (floating address, fixed address) pairs."""
    pairs = sorted(floating)
    return {_FLOATING: pairs, _FIXED: sorted((fixed, outer) for outer, fixed in pairs)}


def _map(name: str, pairs: Iterable[tuple[IPv4Address, IPv4Address]]) -> str:
    elements = ", ".join(f"{key} : {value}" for key, value in pairs)
    filled = f" elements = {{ {elements} }}" if elements else ""
    return f"  map {name} {{ type ipv4_addr : ipv4_addr;{filled} }}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def load(nft: Nft, ruleset: Ruleset, *, replace: bool) -> None:
    """Load the rules, in place of those that are there. Raises Unavailable; then the old ones still hold.

    With `replace` false there must be none: a deletion makes the context's end wait for a grace period of the kernel.
    """
    drop = f"add table {FAMILY} {TABLE}\ndelete table {FAMILY} {TABLE}\n" if replace else ""
    nft.transact(drop + ruleset.text, "load the router's rules")


def observe(netlink: Netlink) -> Ruleset | None:
    """The rules of the namespace of a socket of the family NETFILTER; None without any, fingerprint "" where they were
    changed by hand.
    """
    found = tables.read(netlink, tables.IPV4, TABLE)
    return None if found is None else judge(found)


class Seen:
    """What was read of routers' rules, each with the namespace and the transaction before it. Thread-safe for different
    routers.
    """

    def __init__(self) -> None:
        self._seen: dict[RouterId, tuple[int, int, Ruleset | None]] = {}

    def observe(self, router_id: RouterId, namespace: int, netlink: Netlink) -> Ruleset | None:
        """As `observe`; `namespace` is the number of that of the socket. What a transaction changed while it was read
        is read again by the next look: that finds another one than was asked for before.
        """
        last = tables.generation(netlink)
        seen = self._seen.get(router_id)
        if seen is not None and seen[:2] == (namespace, last):
            return seen[2]
        found = observe(netlink)
        if last is not None:
            self._seen[router_id] = namespace, last, found
        return found

    def forget(self, router_ids: Iterable[RouterId]) -> None:
        """Something is done to these: another namespace may have the number of the one before."""
        for router_id in router_ids:
            self._seen.pop(router_id, None)


def judge(table: Table) -> Ruleset:
    """What our table says, and how the kernel lists its chains."""
    translations = {it.name: _pairs(it) for it in table.sets}
    floating = translations.get(_FLOATING) or frozenset()
    seals = [chain.name.removeprefix(_SEAL) for chain in table.chains if chain.name.startswith(_SEAL)]
    is_untouched = (
        not table.flags
        and not table.others
        and len(seals) == 1
        and translations == {_FLOATING: floating, _FIXED: frozenset((fixed, outer) for outer, fixed in floating)}
        and seals[0].partition("_")[2] == _digest(_observed_shape(table.chains))
    )
    return Ruleset(fingerprint=seals[0] if is_untouched else "", floating=floating, listed=listed_digests(table.chains))


def listed_digests(chains: Iterable[tables.Chain]) -> dict[str, str]:
    """Of chains that packets meet by themselves, as the kernel lists them: a digest each, by name."""
    return {name: digest_of(parts) for name, parts in listed_parts(chains).items()}


def listed_parts(chains: Iterable[tables.Chain]) -> dict[str, tuple[bytes, ...]]:
    """Of such chains, what the digest is of: what the chain is, and what each rule does."""
    return {
        it.name: (_observed_chain(it).encode(), *(rule.expressions for rule in it.rules)) for it in chains if it.hook
    }


def digest_of(parts: Iterable[bytes]) -> str:
    """Of one chain."""
    return hashlib.sha256(b"".join(b"%d:%b" % (len(part), part) for part in parts)).hexdigest()[:16]


def _observed_shape(chains: Iterable[tables.Chain]) -> str:
    return "\n".join(sorted(_observed_chain(it) for it in chains if it.hook))


def _observed_chain(it: tables.Chain) -> str:
    return _shape(it.name, it.type, it.hook, it.priority, it.policy, (rule.comment for rule in it.rules))


def _shape(name: str, type_: str, hook: str, priority: int, policy: str, comments: Iterable[str]) -> str:
    return f"{name} {type_} {hook} {priority} {policy} {list(comments)}"


def _pairs(found: tables.Set) -> frozenset[tuple[IPv4Address, IPv4Address]] | None:
    """The pairs of a map of addresses; None where it is not of our making: with a comment, a timeout, a range."""
    if (found.flags, found.key_type, found.data_type) != (tables.MAP, tables.ADDRESS, tables.ADDRESS):
        return None
    pairs = found.pairs
    return None if pairs is None else frozenset((IPv4Address(key), IPv4Address(value)) for key, value in pairs)
