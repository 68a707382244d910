"""`gapless host`: the sentinel of a machine that carries routers. It supervises the agent, which does the work."""

import asyncio
import contextlib
import os
import re
import signal
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path
from typing import Annotated

import typer

from gapless import __version__
from gapless.cli.application import application
from gapless.config import LINK_PORT, METRICS_PORT, Address, HostSettings
from gapless.errors import InvalidRequest
from gapless.model.flow import FlowPolicy, FlowProtocol
from gapless.model.host import HostFacts, HostName, InstanceId
from gapless.observe.log import LogFormat, configure, get_logger
from gapless.observe.notify import ServiceManager
from gapless.sentinel import prerequisites, tracking
from gapless.sentinel.children import watch_children_without_threads
from gapless.sentinel.commands import Commands, agent_command, beat_command, flows_command
from gapless.sentinel.driver import Sentinel
from gapless.sentinel.identity import StateDirectory
from gapless.wire.hostlock import HostLock
from gapless.wire.key import load as load_key

app = application()

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,253}[A-Za-z0-9])?", re.ASCII)
PREDECESSOR_S = 2.0
"""How long a sentinel that ends at this moment may take to let go of this machine."""
_DEFAULTS = HostSettings(name="", state_dir=Path(), key_file=Path())


@app.command()
def host(
    name: Annotated[
        str,
        typer.Option(envvar="GAPLESS_NAME", help="Name of this host, unique in the cluster. Routers are bound to it."),
    ],
    state_dir: Annotated[
        Path,
        typer.Option(
            envvar="GAPLESS_STATE_DIR",
            help="Directory for what must outlive a restart: who this host is, and its plan. One for each host; do not "
            "copy it to another machine.",
        ),
    ],
    key_file: Annotated[
        Path,
        typer.Option(
            envvar="GAPLESS_KEY_FILE",
            help="The cluster's key, copied from cluster.key in the controller's state directory, mode 0600.",
        ),
    ],
    server: Annotated[
        str,
        typer.Option(
            envvar="GAPLESS_SERVER", help=f"The controller's control link, HOST or HOST:PORT (port {LINK_PORT})."
        ),
    ],
    availability_zone: Annotated[
        str,
        typer.Option(
            envvar="GAPLESS_AVAILABILITY_ZONE",
            help="Zone of this host. A router with zone hints runs on hosts of those zones only.",
        ),
    ] = _DEFAULTS.availability_zone,
    capacity: Annotated[
        int,
        typer.Option(
            envvar="GAPLESS_CAPACITY",
            min=0,
            help="The most routers that this host wants to carry; 0: none, it is an arbiter only.",
        ),
    ] = _DEFAULTS.capacity,
    physical_network: Annotated[
        list[str] | None,
        typer.Option(
            envvar="GAPLESS_PHYSICAL_NETWORKS",
            metavar="NAME=INTERFACE",
            help="A flat network and the interface that is plugged into it, such as external=eth2. May be repeated.",
        ),
    ] = None,
    data_interface: Annotated[
        str | None,
        typer.Option(
            envvar="GAPLESS_DATA_INTERFACE",
            help="Interface to the other hosts: for tenant networks (VXLAN), leases and copies of connections. Without "
            "it this host carries no tenant network, and no router of failover mode standby.",
        ),
    ] = None,
    vxlan_group: Annotated[
        str,
        typer.Option(
            envvar="GAPLESS_VXLAN_GROUP",
            help="Multicast group for broadcasts in tenant networks; the same on every host.",
        ),
    ] = _DEFAULTS.vxlan_group,
    vxlan_peer: Annotated[
        list[str] | None,
        typer.Option(
            envvar="GAPLESS_VXLAN_PEERS",
            metavar="IP",
            help="Tunnel endpoint of a host, where the data network has no multicast: then name all of them; this "
            "host's own is passed over.",
        ),
    ] = None,
    lease_port: Annotated[
        int,
        typer.Option(
            envvar="GAPLESS_LEASE_PORT",
            min=1,
            max=65535,
            help="UDP port on the data interface for the datagrams of the lease.",
        ),
    ] = _DEFAULTS.lease_port,
    metrics: Annotated[
        str,
        typer.Option(
            envvar="GAPLESS_METRICS",
            metavar="ADDR",
            help="HOST, HOST:PORT or :PORT where this host's figures are served for Prometheus, at /metrics; empty: "
            "nowhere.",
        ),
    ] = f"127.0.0.1:{METRICS_PORT}",
    sync_flows: Annotated[
        bool,
        typer.Option(
            envvar="GAPLESS_SYNC_FLOWS",
            help="Copy tracked connections to hosts that may succeed this one, so that they survive a takeover. The "
            "same on every host.",
        ),
    ] = _DEFAULTS.sync_flows,
    flows_port: Annotated[
        int,
        typer.Option(
            envvar="GAPLESS_FLOWS_PORT",
            min=1,
            max=65535,
            help="TCP port on the data interface for copies of tracked connections; the same on every host.",
        ),
    ] = _DEFAULTS.flows_port,
    flows_most: Annotated[
        int,
        typer.Option(
            envvar="GAPLESS_FLOWS_MOST", min=1, help="Tracked connections of one router that are copied, at most."
        ),
    ] = _DEFAULTS.flows_most,
    flows_protocol: Annotated[
        list[str] | None,
        typer.Option(
            envvar="GAPLESS_FLOWS_PROTOCOLS",
            metavar="PROTOCOL",
            help="A protocol whose tracked connections are copied from here: tcp, udp or sctp. May be repeated; all "
            "three if none is named.",
        ),
    ] = None,
    flows_udp_age: Annotated[
        float,
        typer.Option(
            envvar="GAPLESS_FLOWS_UDP_AGE",
            metavar="SECONDS",
            help="UDP is copied from here once it has gone on for so long, in both directions; 2 at least.",
        ),
    ] = _DEFAULTS.flows_policy.udp_age_s,
    raise_conntrack_max: Annotated[
        bool,
        typer.Option(
            envvar="GAPLESS_RAISE_CONNTRACK_MAX",
            help="Raise this machine's net.netfilter.nf_conntrack_max to the most of the hosts whose routers it may "
            "take over, so that their connections have room here; it is never lowered.",
        ),
    ] = _DEFAULTS.raise_conntrack_max,
    drain_within: Annotated[
        float,
        typer.Option(
            envvar="GAPLESS_DRAIN_WITHIN",
            min=0,
            metavar="SECONDS",
            help="When stopped by SIGTERM: how long routers with standbys have to leave first; 0: not at all. A second "
            "SIGTERM ends it at once.",
        ),
    ] = _DEFAULTS.drain_within_s,
    log_format: Annotated[
        LogFormat, typer.Option(envvar="GAPLESS_LOG_FORMAT", help="Log lines for people or for machines.")
    ] = LogFormat.TEXT,
) -> None:
    r"""Carry routers on this machine: hold its lease, take over from others, build what the controller plans, report.

    Needs root (or the lab's namespaces) and libnftables. SIGTERM ends it; the routers stay, and the next start finds
    them. Those of mode standby go to their standbys first, within --drain-within; what is left then stops forwarding
    here when this host's lease ends, and is active on its standby a moment later. Killing the agent moves nothing: it
    is started again.

    Examples (a key file comes from the controller's state directory):

        gapless host --name net1 --state-dir /var/lib/gapless --key-file /etc/gapless/cluster.key \
            --server 10.0.0.1 --physical-network external=eth2 --data-interface eth1

        gapless host --name arbiter --capacity 0 --state-dir /var/lib/gapless-arbiter \
            --key-file /var/lib/gapless/cluster.key --server 10.0.0.1 --data-interface eth1
    """
    settings = HostSettings(
        name=_checked_name(name),
        state_dir=state_dir.absolute(),
        key_file=key_file.absolute(),
        server=Address.parse(server, LINK_PORT),
        availability_zone=availability_zone,
        capacity=capacity,
        physical_networks=_physical_networks(physical_network or []),
        data_interface=data_interface,
        vxlan_group="" if vxlan_peer else _checked_group(vxlan_group),
        vxlan_peers=tuple(_checked_peer(peer) for peer in vxlan_peer or []),
        lease_port=lease_port,
        metrics=Address.parse(metrics, METRICS_PORT) if metrics else None,
        sync_flows=sync_flows,
        flows_port=flows_port,
        flows_most=flows_most,
        flows_policy=_flow_policy(flows_protocol or [], flows_udp_age),
        raise_conntrack_max=raise_conntrack_max,
        drain_within_s=drain_within,
    )
    run(settings, log_format)


def run(settings: HostSettings, log_format: LogFormat) -> None:
    """Run a host until SIGTERM or SIGINT. Raises InvalidRequest or Unavailable when it cannot begin."""
    manager = ServiceManager.found_in(os.environ)
    key = load_key(settings.key_file)
    prerequisites.check(settings)
    configure("sentinel", log_format)
    if shortage := prerequisites.neighbours_short_of(settings.capacity):
        get_logger().warning(shortage)
    tracked_most = tracking.at_the_start(settings)
    with StateDirectory(settings.state_dir) as state, HostLock("sentinel", PREDECESSOR_S):
        identity = state.begin_incarnation()
        if filtered := prerequisites.bridges_filtered():
            get_logger().warning(filtered)
        commands = Commands(
            agent=agent_command(settings, log_format),
            beat=beat_command,
            flows=flows_command(log_format) if settings.sync_flows else None,
        )
        facts = _facts(settings, identity.instance, tracked_most)
        sentinel = Sentinel(settings, state, identity, facts, key, commands=commands)
        watch_children_without_threads()
        with contextlib.closing(manager):
            asyncio.run(_until_asked_to_end(sentinel, manager, settings.drain_within_s))


async def _until_asked_to_end(sentinel: Sentinel, manager: ServiceManager, drain_within_s: float) -> None:
    """By SIGTERM, and then guarded routers leave first; by SIGINT or a second SIGTERM, and then at once. By SIGHUP its
    agent alone is started anew.
    """
    loop, work = asyncio.get_running_loop(), asyncio.ensure_future(sentinel.run())
    telling = asyncio.ensure_future(manager.follow(sentinel.condition))
    leaving: list[asyncio.Future[None]] = []

    def end(reason: str) -> None:
        telling.cancel()
        manager.stops("ends its agent, and sets guarded taps down when the lease is over")
        work.cancel(reason)

    def leave(reason: str) -> None:
        if leaving or not drain_within_s:
            end(reason)
            return
        manager.stops(f"guarded routers leave, within {drain_within_s:g} s", drain_within_s)
        leaving.append(asyncio.ensure_future(sentinel.leave(drain_within_s)))
        leaving[0].add_done_callback(lambda _: end(reason))

    loop.add_signal_handler(signal.SIGTERM, leave, f"{signal.SIGTERM.name} arrived")
    loop.add_signal_handler(signal.SIGINT, end, f"{signal.SIGINT.name} arrived")
    loop.add_signal_handler(signal.SIGHUP, sentinel.renew_agent)
    try:
        await work
    except asyncio.CancelledError as asked:
        what = "sentinel ended; routers stay, but guarded ones stop forwarding here when the lease ends"
        get_logger().info(what, reason=str(asked) or None)
    finally:
        telling.cancel()


def _facts(settings: HostSettings, instance: InstanceId, tracked_most: int | None) -> HostFacts:
    interface = settings.data_interface
    address = None if interface is None else str(prerequisites.data_address(interface))
    return HostFacts(
        name=HostName(settings.name),
        instance=instance,
        availability_zone=settings.availability_zone,
        capacity=settings.capacity,
        physical_networks=tuple(network for network, _ in settings.physical_networks),
        data_address=address,
        lease_address=None if address is None else f"{address}:{settings.lease_port}",
        version=__version__,
        tracked_most=tracked_most,
        copies_flows=settings.sync_flows and address is not None,
    )


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"--name '{name}': a host's name has 1 to 255 letters, digits, dots, dashes and underscores, and begins "
            "and ends with a letter or digit"
        )
    return name


def _physical_networks(flags: list[str]) -> tuple[tuple[str, str], ...]:
    pairs = [tuple(part.strip() for part in flag.partition("=")[::2]) for flag in flags]
    for flag, (network, interface) in zip(flags, pairs, strict=True):
        if not network or not interface:
            raise InvalidRequest(f"--physical-network '{flag}': write NAME=INTERFACE, such as external=eth2")
        if [other for other, _ in pairs].count(network) > 1:
            raise InvalidRequest(f"--physical-network: '{network}' is named twice; a network has one interface a host")
    return tuple((network, interface) for network, interface in pairs)


def _flow_policy(flags: list[str], udp_age_s: float) -> FlowPolicy:
    """Raises InvalidRequest."""
    try:
        named = {FlowProtocol(flag.strip().lower()) for flag in flags} or set(FlowProtocol)
    except ValueError:
        raise InvalidRequest(
            f"--flows-protocol '{' '.join(flags)}': name tcp, udp or sctp, each by an option of its own (in "
            "GAPLESS_FLOWS_PROTOCOLS with spaces between); connections of no other protocol can be copied, and with "
            "--no-sync-flows none are"
        ) from None
    try:
        return FlowPolicy(protocols=tuple(each for each in FlowProtocol if each in named), udp_age_s=udp_age_s)
    except InvalidRequest as error:
        how = "--flows-protocol tcp --flows-protocol sctp copies none"
        raise InvalidRequest(f"--flows-udp-age {udp_age_s:g}: {error}; {how}") from error


def _address(flag: str, text: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except AddressValueError as error:
        raise InvalidRequest(f"{flag} '{text}' is no IPv4 address: {error}") from error


def _checked_group(group: str) -> str:
    if not _address("--vxlan-group", group).is_multicast:
        raise InvalidRequest(f"--vxlan-group {group} is no multicast group: take one of 239.0.0.0/8")
    return group


def _checked_peer(peer: str) -> str:
    address = _address("--vxlan-peer", peer)
    if address.is_multicast or address.is_unspecified:
        raise InvalidRequest(f"--vxlan-peer {peer} is no host's address; multicast groups go to --vxlan-group")
    return peer
