"""The HTTP side of the controller, put together: which handler answers which path, over which store and planner.

`create_app` is given everything; the application starts nothing and stops nothing. Resources of the attribute map share
their handlers; an unknown path is 404 and a known one with another method 405, in Neutron's words.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from gapless import __version__
from gapless.config import ServerSettings
from gapless.controller.api import extensions, faults, router_status, versions
from gapless.controller.api.agents import Agents, Zones
from gapless.controller.api.attributes import (
    AGENT,
    AVAILABILITY_ZONE,
    FLOATING_IP,
    NETWORK,
    PORT,
    ROUTER,
    SUBNET,
    Resource,
)
from gapless.controller.api.drains import Drains
from gapless.controller.api.edge import Edge
from gapless.controller.api.gapless import GaplessApi
from gapless.controller.api.names import Names
from gapless.controller.api.resources import Collection, Dress, Operations, as_stored, json_response
from gapless.controller.api.router_actions import RouterActions
from gapless.controller.api.scheduler import Scheduler
from gapless.controller.api.transactions import Transactions
from gapless.controller.api.versions import PREFIX
from gapless.controller.controls import Controls
from gapless.controller.operations.catalog import Catalog
from gapless.controller.store.engine import Store
from gapless.observe.metrics import CONTENT_TYPE, Metrics

Handler = Callable[..., Awaitable[Response]]


def create_app(*, store: Store, settings: ServerSettings, controls: Controls, metrics: Metrics) -> FastAPI:
    """The application: Neutron's API under /v2.0, Gapless's own beside it, /metrics and /healthcheck."""
    app = FastAPI(title="Gapless", version=__version__, openapi_url=None, docs_url=None, redoc_url=None)
    faults.install(app)
    app.add_middleware(Names, settings=settings)
    app.add_middleware(Edge, registry=metrics.registry)  # the last one stands outermost
    transactions = Transactions(store, controls)
    _add_discovery(app)
    _add_neutron(app, settings, store, controls)
    _add_gapless(app, GaplessApi(transactions, controls))
    _add_drains(app, Drains(transactions, controls))
    _add_observation(app, store, metrics)
    return app


def add_collection(
    app: FastAPI, resource: Resource, operations: Operations, transactions: Transactions, dress: Dress = as_stored
) -> None:
    """The five routes of a resource."""
    handlers = Collection(resource, operations, transactions, dress)
    path = f"{PREFIX}/{resource.collection}"
    _add(app, path, GET=handlers.list, POST=handlers.create)
    _add(app, f"{path}/{{id_}}", GET=handlers.show, PUT=handlers.update, DELETE=handlers.delete)


def _add_discovery(app: FastAPI) -> None:
    _add(app, "/", GET=versions.versions)
    _add(app, PREFIX, GET=versions.version)
    _add(app, f"{PREFIX}/", GET=versions.version)
    _add(app, f"{PREFIX}/extensions", GET=extensions.extensions)
    _add(app, f"{PREFIX}/extensions/{{alias}}", GET=extensions.extension)


def _add_neutron(app: FastAPI, settings: ServerSettings, store: Store, controls: Controls) -> None:
    catalog = Catalog.of(settings)
    agents = Agents(controls)
    on_loop = Transactions(store, controls, on_loop=True)
    with_status = router_status.of_routers(controls)
    served: tuple[tuple[Resource, Operations, Dress], ...] = (
        (NETWORK, catalog.networks, as_stored),
        (SUBNET, catalog.subnets, as_stored),
        (PORT, catalog.ports, router_status.of_ports(controls)),
        (ROUTER, catalog.routers, with_status),
        (FLOATING_IP, catalog.floating_ips, router_status.of_floating_ips(controls)),
    )
    transactions = Transactions(store, controls)
    for resource, operations, dress in served:
        add_collection(app, resource, operations, transactions, dress)
    add_collection(app, AGENT, agents, on_loop)
    _add_router_actions(app, RouterActions(catalog.routers, transactions, with_status))
    _add_scheduler(app, Scheduler(on_loop, controls, agents, catalog.routers, with_status))
    _add(app, f"{PREFIX}/{AVAILABILITY_ZONE.collection}", GET=Zones(transactions).list)


def _add_router_actions(app: FastAPI, actions: RouterActions) -> None:
    path = f"{PREFIX}/routers/{{id_}}"
    _add(app, f"{path}/add_router_interface", PUT=actions.add_router_interface)
    _add(app, f"{path}/remove_router_interface", PUT=actions.remove_router_interface)
    _add(app, f"{path}/add_extraroutes", PUT=actions.add_extraroutes)
    _add(app, f"{path}/remove_extraroutes", PUT=actions.remove_extraroutes)


def _add_scheduler(app: FastAPI, scheduler: Scheduler) -> None:
    path = f"{PREFIX}/agents/{{id_}}/l3-routers"
    _add(app, path, GET=scheduler.routers_of_agent, POST=scheduler.add)
    _add(app, f"{path}/{{router_id}}", DELETE=scheduler.remove)
    _add(app, f"{PREFIX}/routers/{{id_}}/l3-agents", GET=scheduler.agents_of_router)


def _add_gapless(app: FastAPI, handlers: GaplessApi) -> None:
    path = f"{PREFIX}/gapless"
    _add(app, f"{path}/failovers", GET=handlers.failovers)
    _add(app, f"{path}/failovers/{{router_id}}/{{epoch}}", GET=handlers.failover)
    _add(app, f"{path}/hosts", GET=handlers.hosts)
    _add(app, f"{path}/routers", GET=handlers.routers)
    _add(app, f"{path}/arbiters", GET=handlers.arbiters)
    _add(app, f"{path}/confirm-off", PUT=handlers.confirm_off)
    _add(app, f"{path}/brake", GET=handlers.brake, PUT=handlers.set_brake)


def _add_drains(app: FastAPI, drains: Drains) -> None:
    _add(app, f"{PREFIX}/gapless/rebalance", GET=drains.shifts, PUT=drains.rebalance)
    path = f"{PREFIX}/gapless/hosts/{{host}}"
    _add(app, f"{path}/drain", GET=drains.show, PUT=drains.change)
    _add(app, f"{path}/prospects", GET=drains.prospects)


def _add_observation(app: FastAPI, store: Store, metrics: Metrics) -> None:
    async def healthcheck(_: Request) -> Response:
        """GET /healthcheck: 200 while the store can be written, or else 503 with the reason."""
        if (trouble := await store.trouble()) is not None:
            return json_response({"status": "unavailable", "reason": str(trouble)}, HTTPStatus.SERVICE_UNAVAILABLE)
        return json_response({"status": "ok"})

    async def page(_: Request) -> Response:
        """GET /metrics, for Prometheus."""
        return Response(metrics.page(), media_type=CONTENT_TYPE)

    _add(app, "/healthcheck", GET=healthcheck)
    _add(app, "/metrics", GET=page)


def _add(app: FastAPI, path: str, **handlers: Handler) -> None:
    """One path's handlers, by method."""
    for method, handler in handlers.items():
        app.add_api_route(path, handler, methods=[method], response_model=None)
