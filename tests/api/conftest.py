"""A store of its own for each test, and the API over it: in process, or served on a loopback port."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from api_fakes import THING, FakeControls, Things
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
