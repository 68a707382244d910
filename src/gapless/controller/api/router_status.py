"""The `status` of a router: ACTIVE, or ERROR where the host that it is bound to could not build it.

The rule: ERROR is for what somebody has to look into. A router that waits for a host or is on its way is ACTIVE, as in
Neutron, where a router that no agent has is too; what it waits for says `gapless status`. A standby that could not be
built leaves the router ACTIVE, since it forwards. The store does not know: the host's reports are the planner's.
"""

from gapless.controller.api.queries import Item
from gapless.controller.api.resources import Dress
from gapless.controller.controls import Controls

FAILED = "failed"
"""The planner's word."""


def of_routers(controls: Controls) -> Dress:
    """Adds the status to a router of the store."""

    def dress(router: Item) -> Item:
        view = controls.router(router["id"])
        return {**router, "status": "ERROR"} if view is not None and view.state == FAILED else router

    return dress
