"""A disk that is full: what can be read is answered, what would have to be written is refused, and health says so."""

from pathlib import Path

import pytest
from httpx import AsyncClient

import disks
from gapless.controller.store import health

pytestmark = pytest.mark.isolated


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    """A small disk of the test's own."""
    return disks.mount(tmp_path, megabytes=8)


async def test_health_tells_of_a_full_disk_before_anybody_writes(
    api: AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "STANDS_S", 0.0)
    assert (await api.get("/healthcheck")).json() == {"status": "ok"}
    ballast = disks.fill(tmp_path)
    answer = await api.get("/healthcheck")
    assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
    assert "the disk is full: free some space; nothing needs a restart" in answer.json()["reason"]
    assert (await api.get("/v2.0/routers")).json() == {"routers": []}
    ballast.unlink()
    assert (await api.get("/healthcheck")).json() == {"status": "ok"}


async def test_a_request_that_could_not_be_stored_shows_in_the_next_healthcheck(
    api: AsyncClient, tmp_path: Path
) -> None:
    """Also where all was well a moment ago, and is not asked again at once."""
    assert (await api.get("/healthcheck")).status_code == 200
    disks.fill(tmp_path)
    assert (await api.post("/v2.0/routers", json={"router": {"name": "r"}})).status_code == 503
    assert (await api.get("/healthcheck")).status_code == 503
