"""`/v2.0/extensions`: what of Neutron beyond its core is really here. Clients look before they use.

An alias stands in this list when everything that it promises works and is tested, or else it is absent: a client that
finds an extension missing says so clearly, one that finds it broken does not.
"""

from starlette.requests import Request
from starlette.responses import Response

from gapless.controller.api import queries
from gapless.controller.api.attributes import EXTENSION
from gapless.controller.api.queries import Item
from gapless.controller.api.resources import json_response, listed
from gapless.errors import NotFound

_SUPPORTED = (
    ("agent", "agent", "The agent management extension.", "2013-02-03"),
    ("availability_zone", "Availability Zone", "The availability zone extension.", "2015-01-01"),
    ("binding", "Port Binding", "Expose port bindings of a virtual port to external application", "2014-02-03"),
    (
        "empty-string-filtering",
        "Empty String Filtering Extension",
        "Filter by attributes with empty value",
        "2018-05-01",
    ),
    ("ext-gw-mode", "Neutron L3 Configurable external gateway mode", "Whether SNAT occurs on a gateway", "2013-03-28"),
    ("external-net", "Neutron external network", "Adds external network attribute to network resource.", "2013-01-14"),
    ("extraroute", "Neutron Extra Route", "Extra routes configuration for L3 router", "2013-02-01"),
    ("extraroute-atomic", "Atomically add/remove extra routes", "Edit extra routes on the server's side", "2019-07-10"),
    ("filter-validation", "Filter parameters validation", "Provides validation on filter parameters.", "2018-07-04"),
    ("gapless", "Gapless", "Failovers with their timelines, hosts, routers, brake; failover_mode", "2026-01-01"),
    ("l3_agent_scheduler", "L3 Agent Scheduler", "Schedule routers among l3 agents", "2013-02-07"),
    ("net-mtu", "Network MTU", "Provides MTU attribute for a network resource.", "2015-03-25"),
    ("net-mtu-writable", "Network MTU (writable)", "Provides a writable MTU attribute for networks.", "2017-07-12"),
    ("pagination", "Pagination support", "Extension that indicates that pagination is enabled.", "2016-06-12"),
    ("project-id", "project_id field enabled", "Indicates that project_id field is enabled.", "2016-09-09"),
    ("provider", "Provider Network", "Expose mapping of virtual networks to physical networks", "2012-09-07"),
    ("router", "Neutron L3 Router", "Router abstraction with a NAT gateway and floating IPs.", "2012-07-20"),
    ("router_availability_zone", "Router Availability Zone", "Availability zone support for router.", "2015-01-01"),
    ("sorting", "Sorting support", "Extension that indicates that sorting is enabled.", "2016-06-12"),
    ("standard-attr-description", "standard-attr-description", "Descriptions of standard resources.", "2016-02-10"),
    ("standard-attr-revisions", "Resource revision numbers", "Shows the revision number of resources.", "2016-04-11"),
    ("standard-attr-timestamp", "Resource timestamps", "Creation and update times of resources.", "2016-09-12"),
)

EXTENSIONS: dict[str, Item] = {
    alias: {"alias": alias, "name": name, "description": text, "updated": f"{day}T00:00:00-00:00", "links": []}
    for alias, name, text, day in _SUPPORTED
}


async def extensions(request: Request) -> Response:
    """GET /v2.0/extensions"""
    query = queries.parse(EXTENSION, request.query_params.multi_items())
    marker = None if query.marker is None else _of(query.marker)
    return listed(EXTENSION, query, request, list(EXTENSIONS.values()), marker)


async def extension(_: Request, alias: str) -> Response:
    """GET /v2.0/extensions/{alias}"""
    return json_response({"extension": _of(alias)})


def _of(alias: str) -> Item:
    if alias not in EXTENSIONS:
        raise NotFound(f"Extension with alias {alias} does not exist")
    return EXTENSIONS[alias]
