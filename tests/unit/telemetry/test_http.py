import aiohttp
import pytest

from celeriac.telemetry.http import serving
from celeriac.telemetry.metrics import Metrics

pytestmark = pytest.mark.unit


async def get(port: int, path: str, accept: str = "text/plain") -> tuple[int, str, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}", headers={"Accept": accept}) as answer,
    ):
        return answer.status, answer.headers["Content-Type"], await answer.text()


async def test_prometheus_gets_the_format_that_it_asks_for() -> None:
    metrics = Metrics()
    metrics.leader(True)
    async with serving(metrics, "127.0.0.1", 0, healthy=lambda: True, ready=lambda: True) as port:
        status, content_type, text = await get(port, "/metrics")
        assert status == 200
        assert content_type.startswith("text/plain; version=")
        assert "celeriac_leader 1.0\n" in text
        _, content_type, text = await get(port, "/metrics", "application/openmetrics-text; version=1.0.0")
        assert content_type.startswith("application/openmetrics-text; version=1.0.0")
        assert text.endswith("# EOF\n")


async def test_each_probe_answers_for_itself_and_changes_with_its_check() -> None:
    state = {"healthy": True, "ready": False}
    checks = {"healthy": lambda: state["healthy"], "ready": lambda: state["ready"]}
    async with serving(Metrics(), "127.0.0.1", 0, **checks) as port:
        assert (await get(port, "/healthz"))[0] == 200
        assert (await get(port, "/readyz"))[0] == 503
        state |= {"healthy": False, "ready": True}
        assert (await get(port, "/healthz"))[0] == 503
        assert (await get(port, "/readyz"))[0] == 200
        assert (await get(port, "/elsewhere"))[0] == 404


async def test_a_taken_port_is_an_error_at_once() -> None:
    async with serving(Metrics(), "127.0.0.1", 0, healthy=lambda: True, ready=lambda: True) as port:
        with pytest.raises(OSError, match="address already in use"):
            async with serving(Metrics(), "127.0.0.1", port, healthy=lambda: True, ready=lambda: True):
                pass
