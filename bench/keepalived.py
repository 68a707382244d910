"""What keepalived is told for a router, as Neutron's L3 agent tells it. Pure."""

from pathlib import Path

import msgspec

from gapless.lab.machines import layout
from gapless.lab.tenants import Tenant


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """How often keepalived speaks. VRRP's version 2 (RFC 3768) knows whole seconds, 3 (RFC 5798) hundredths."""

    name: str
    version: int
    advert_s: float


def configuration(tenant: Tenant, timing: Timing, notify: Path | None = None) -> str:
    """Each router has a network for VRRP of its own, and VRID 1. `notify`: a FIFO that is told each new state."""
    number = tenant.number
    version = f"    vrrp_version {timing.version}\n" if timing.version != 2 else ""
    told = f"    vrrp_notify_fifo {notify}\n" if notify else ""
    return f"""global_defs {{
    router_id neutron
{version}{told}}}
vrrp_instance VR_1 {{
    state BACKUP
    interface ha-{number}
    virtual_router_id 1
    priority 50
    garp_master_delay 60
    nopreempt
    advert_int {timing.advert_s:g}
    track_interface {{
        ha-{number}
    }}
    virtual_ipaddress {{
        169.254.0.1/24 dev ha-{number}
    }}
    virtual_ipaddress_excluded {{
        {tenant.subnet_gateway}/{layout.TENANT_NET.prefixlen} dev qr-{number}
        {tenant.gateway_address}/{layout.EXTERNAL_NET.prefixlen} dev qg-{number}
        {tenant.floating_address}/32 dev qg-{number}
    }}
    virtual_routes {{
        0.0.0.0/0 via {layout.EXTERNAL_GATEWAY.ip} dev qg-{number}
    }}
}}"""
