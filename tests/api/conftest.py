"""A store of its own for each test, and the API over it: in process, or served on a loopback port."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from api_fakes import THING, FakeControls, Things, make
from fastapi import FastAPI

from gapless.config import ServerSettings
from gapless.controller.api import faults
from gapless.controller.api.app import add_collection, create_app
from gapless.controller.api.edge import Edge
from gapless.controller.api.transactions import Transactions
from gapless.controller.store.engine import Store
from gapless.observe.metrics import Metrics
from stores import empty_database, store

__all__ = ["empty_database", "store"]


@pytest.fixture
def controls() -> FakeControls:
    return FakeControls()


@pytest.fixture
def things() -> Things:
    return Things()


@pytest.fixture
async def thing_api(store: Store, controls: FakeControls, things: Things) -> AsyncIterator[httpx.AsyncClient]:
    """The generic handlers over things."""
    app = FastAPI(openapi_url=None)
    faults.install(app)
    app.add_middleware(Edge, registry=Metrics().registry)
    add_collection(app, THING, things, Transactions(store, controls))
    async with _client(app) as client:
        yield client


@pytest.fixture
def app(store: Store, controls: FakeControls, tmp_path: Path) -> FastAPI:
    """The whole application."""
    settings = ServerSettings(state_dir=tmp_path, api_names=("controller",))
    return create_app(store=store, settings=settings, controls=controls, metrics=Metrics())


@pytest.fixture
async def api(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """The whole API, in process."""
    async with _client(app) as client:
        yield client


@pytest.fixture
async def world(api: httpx.AsyncClient) -> dict[str, dict[str, Any]]:
    """A router between a network inside and one outside, a machine's port, a floating IP that points at it."""
    outer = {"router:external": True, "provider:network_type": "flat", "provider:physical_network": "external"}
    public = await make(api, "network", name="public", **outer)
    public_v4 = await make(
        api, "subnet", network_id=public["id"], ip_version=4, cidr="203.0.113.0/29", enable_dhcp=False
    )
    blue = await make(api, "network", name="blue")
    blue_v4 = await make(api, "subnet", network_id=blue["id"], ip_version="4", cidr="10.0.0.0/24")
    router = await make(api, "router", name="edge", external_gateway_info={"network_id": public["id"]})
    await api.put(f"/v2.0/routers/{router['id']}/add_router_interface", json={"subnet_id": blue_v4["id"]})
    vm = await make(api, "port", network_id=blue["id"], name="vm")
    fip = await make(api, "floatingip", floating_network_id=public["id"], port_id=vm["id"])
    return {
        "public": public,
        "public_v4": public_v4,
        "blue": blue,
        "blue_v4": blue_v4,
        "router": router,
        "vm": vm,
        "fip": fip,
    }


@pytest.fixture
async def served(app: FastAPI) -> AsyncIterator[str]:
    """The whole API behind a real HTTP server; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:  # listens already, so nobody has to wait for the server
        host, port = listener.getsockname()
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        yield f"http://{host}:{port}"
        server.should_exit = server.force_exit = True
        await serving


def _client(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://controller:9696")
