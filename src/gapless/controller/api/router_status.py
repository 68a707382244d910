"""The `status` of a router, of its ports and of its floating IPs: the store does not know, since hosts' reports are the
planner's.

The rules:

- A router is ERROR where the host that it is bound to could not build it, and else ACTIVE. ERROR is for what somebody
  has to look into. A router that waits for a host or is on its way is ACTIVE, as in Neutron, where a router that no
  agent has is too; what it waits for says `gapless status`. A standby that could not be built leaves the router ACTIVE,
  since it forwards.
- Its ports and floating IPs are DOWN then, and also where it has no host yet, or its host is dead and nobody took over.
  A router that waits on a living host, because that is drained or an operator moves it, goes on forwarding: they stay
  ACTIVE.
"""

from gapless.controller.api.queries import Item
from gapless.controller.api.resources import Dress
from gapless.controller.controls import Controls
from gapless.controller.operations.views import ROUTER_OWNERS
from gapless.core.ledger.views import RouterStatus
from gapless.model.router import RouterId

FAILED = "failed"
WAITING = "waiting"
"""The planner's words."""


def of_routers(controls: Controls) -> Dress:
    """Adds the status to a router of the store."""

    def dress(router: Item) -> Item:
        view = controls.router(router["id"])
        return {**router, "status": "ERROR"} if view is not None and view.state == FAILED else router

    return dress


def of_ports(controls: Controls) -> Dress:
    """Adds the status to a port of the store: those of routers are as their routers are."""

    def dress(port: Item) -> Item:
        if port["device_owner"] not in ROUTER_OWNERS:
            return port
        return {**port, "status": "DOWN"} if _is_down(controls.router(RouterId(port["device_id"]))) else port

    return dress


def of_floating_ips(controls: Controls) -> Dress:
    """Adds the status to a floating IP of the store, and to the port that it points at, which may be a router's too."""

    def dress(floating_ip: Item) -> Item:
        changed = dict(floating_ip)
        if floating_ip["router_id"] is not None and _is_down(controls.router(floating_ip["router_id"])):
            changed["status"] = "DOWN"
        port = floating_ip["port_details"]
        if port is not None and port["device_owner"] in ROUTER_OWNERS:
            view = controls.router(RouterId(port["device_id"]))  # the store looks for no router's host here
            is_up = view is not None and view.host is not None and not _is_down(view)
            changed["port_details"] = {**port, "status": "ACTIVE" if is_up else "DOWN"}
        return changed

    return dress


def _is_down(router: RouterStatus | None) -> bool:
    """Nothing forwards for it, as far as is known. One that waits has no health exactly if its host is not heard, or
    has not said yet that it is built."""
    if router is None:
        return False
    return router.host is None or router.state == FAILED or (router.state == WAITING and not router.health)
