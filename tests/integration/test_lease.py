"""Of several operators on a real API server exactly one acts."""

import asyncio
import itertools
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from celeriac.api.keys import PoolKey
from celeriac.cluster.client import MANAGER, Api, Scale
from celeriac.cluster.errors import Conflict, Unavailable
from celeriac.cluster.lease import Lease
from celeriac.cluster.paths import DEPLOYMENTS, LEASES, SECRETS
from celeriac.cluster.slots import REQUESTS_AT_ONCE
from tests.cluster.control_plane import ControlPlane

pytestmark = pytest.mark.integration

DURATION, RENEW_DEADLINE, RETRY, TIMEOUT = 3, 2.0, 0.2, 0.8  # seconds
PATIENCE = 20.0  # seconds for what should happen within a few
UNANSWERED = ("update", "leases", 0)


class Wire:
    """A TCP forwarder in front of the API server that can be cut: nothing passes any more, no connection is refused."""

    def __init__(self, control_plane: ControlPlane) -> None:
        host, port = control_plane.url.removeprefix("https://").split(":")
        self._target = (host, int(port))
        self._whole = asyncio.Event()
        self._whole.set()

    def cut(self) -> None:
        self._whole.clear()

    def mend(self) -> None:
        self._whole.set()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward_reader, onward_writer = await asyncio.open_connection(*self._target)
        try:
            await asyncio.gather(self._pump(reader, onward_writer), self._pump(onward_reader, writer))
        finally:
            onward_writer.close()
            writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._whole.wait()
            writer.write(data)
        writer.close()


class Contender:
    """One operator: a client of its own, and the task that holds its Lease."""

    def __init__(self, api: Api, lease: Lease, requests: asyncio.Queue[tuple[str, str, int]]) -> None:
        self.api = api
        self.lease = lease
        self.requests = requests
        self.running = asyncio.create_task(lease.run())

    async def stop_renewing(self) -> None:
        """As in a process that hangs: it neither renews nor releases."""
        self.running.cancel()
        await asyncio.wait([self.running])

    async def acquires(self) -> None:
        await asyncio.wait_for(self.lease.acquired.wait(), PATIENCE)


Enter = Callable[..., Awaitable[Contender]]


@pytest.fixture
async def enter(control_plane: ControlPlane, namespace: str) -> AsyncIterator[Enter]:
    """Let an operator contend for the Lease `celeriac` of this test's namespace."""
    numbers = itertools.count(1)
    async with AsyncExitStack() as stack:

        async def contend(kubeconfig: Path = control_plane.kubeconfig, name: str = "celeriac") -> Contender:
            requests = asyncio.Queue[tuple[str, str, int]]()

            def note(verb: str, resource: str, status: int, seconds: float) -> None:
                requests.put_nowait((verb, resource, status))

            api = await Api.connect(str(kubeconfig), timeout_seconds=TIMEOUT, on_request=note)
            await stack.enter_async_context(api)
            lease = Lease(api, namespace, name, f"operator-{next(numbers)}", DURATION, RENEW_DEADLINE, RETRY)
            contender = Contender(api, lease, requests)
            stack.push_async_callback(contender.stop_renewing)
            return contender

        yield contend


@asynccontextmanager
async def cuttable(control_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[tuple[Wire, Path]]:
    """A wire to the API server, and the kubeconfig that uses it."""
    wire = Wire(control_plane)
    server = await asyncio.start_server(wire.carry, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(control_plane.kubeconfig.read_text().replace(control_plane.url, url))
    try:
        yield wire, kubeconfig
    finally:
        wire.mend()
        server.close()


async def spec_of(contender: Contender, namespace: str) -> dict[str, Any]:
    lease = await contender.api.read(LEASES, namespace, "celeriac")
    return dict(lease["spec"])


async def moment_of(event: asyncio.Event) -> float:
    """When the event was set, on the clock that Leases use."""
    await asyncio.wait_for(event.wait(), PATIENCE)
    return time.monotonic()


async def test_of_two_operators_that_start_together_exactly_one_holds(enter: Enter, namespace: str) -> None:
    both = [await enter(), await enter()]
    acquiring = [asyncio.create_task(one.lease.acquired.wait()) for one in both]
    (won,), (waiting,) = await asyncio.wait(acquiring, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    assert won.result()
    for _ in range(10):
        assert [one.lease.is_holder() for one in both].count(True) == 1
        await asyncio.sleep(RETRY)
    assert not waiting.done()
    waiting.cancel()
    assert (await spec_of(both[0], namespace))["leaseTransitions"] == 0


async def test_a_holder_that_hangs_stops_holding_before_another_takes_over(enter: Enter, namespace: str) -> None:
    first = await enter()
    await first.acquires()
    second = await enter()
    await first.stop_renewing()
    lost, taken = await asyncio.gather(moment_of(first.lease.lost), moment_of(second.lease.acquired))
    assert lost < taken
    assert not first.lease.is_holder()
    assert second.lease.is_holder()
    spec = await spec_of(second, namespace)
    assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("operator-2", 1)


async def test_a_holder_that_shuts_down_hands_over_at_once(enter: Enter, namespace: str) -> None:
    first = await enter()
    await first.acquires()
    second = await enter()
    released_at = time.monotonic()
    await first.lease.release()
    assert not first.lease.is_holder()
    assert await moment_of(second.lease.acquired) - released_at < RENEW_DEADLINE
    await asyncio.wait_for(first.running, PATIENCE)
    assert (await spec_of(second, namespace))["leaseTransitions"] == 1


async def test_what_a_holder_notes_is_written_at_once_and_known_to_the_next(enter: Enter, namespace: str) -> None:
    first = await enter()
    await first.acquires()
    assert first.lease.annotation("example.com/note") == ""
    first.lease.annotate("example.com/note", "one")
    while first.lease.annotation("example.com/note") != "one":
        assert await asyncio.wait_for(first.requests.get(), PATIENCE)
    second = await enter()
    assert second.lease.annotation("example.com/note") is None, "it does not hold"
    first.lease.annotate("example.com/note", "two")
    await first.lease.release()
    await second.acquires()
    assert second.lease.annotation("example.com/note") == "two"
    assert first.lease.annotation("example.com/note") is None


@pytest.mark.full
async def test_what_a_holder_noted_before_it_lost_the_lease_is_not_written_over_another_note(
    enter: Enter, namespace: str
) -> None:
    first = await enter()
    await first.acquires()
    first.lease.annotate("example.com/note", "old")
    await first.stop_renewing()
    second = await enter()
    await second.acquires()
    second.lease.annotate("example.com/note", "new")
    first.running = asyncio.create_task(first.lease.run())
    await asyncio.sleep(2 * RETRY)
    await second.lease.release()
    await first.acquires()
    assert first.lease.annotation("example.com/note") == "new"


async def test_an_operator_that_holds_nothing_releases_nothing(enter: Enter, namespace: str) -> None:
    first = await enter()
    await first.acquires()
    second = await enter()
    await second.lease.release()
    assert (await spec_of(first, namespace))["holderIdentity"] == "operator-1"


async def test_a_holder_cut_off_from_the_api_server_stops_in_time_and_holds_again_when_it_is_back(
    enter: Enter, control_plane: ControlPlane, tmp_path: Path
) -> None:
    async with cuttable(control_plane, tmp_path) as (wire, kubeconfig):
        alone = await enter(kubeconfig)
        await alone.acquires()
        wire.cut()
        cut_at = time.monotonic()
        assert await moment_of(alone.lease.lost) - cut_at < DURATION  # nobody else can hold it earlier
        assert not alone.lease.is_holder()
        wire.mend()
        await alone.acquires()


async def test_a_holder_whose_lease_was_taken_notices_at_its_next_renewal(enter: Enter, namespace: str) -> None:
    first = await enter()
    await first.acquires()
    usurped = {"spec": {"holderIdentity": "somebody-else"}}
    usurped_at = time.monotonic()
    await first.api.merge_patch(LEASES, namespace, "celeriac", usurped, manager="test")
    assert await moment_of(first.lease.lost) - usurped_at < RENEW_DEADLINE
    await first.acquires()  # the usurper never renews


async def test_a_lease_that_somebody_deletes_is_made_anew(
    enter: Enter, control_plane: ControlPlane, namespace: str
) -> None:
    first = await enter()
    await first.acquires()
    control_plane.kubectl(f"--namespace={namespace}", "delete", "lease", "celeriac")
    wait = (f"--namespace={namespace}", "wait", "--for=create", "lease/celeriac", "--timeout=20s")
    await asyncio.to_thread(control_plane.kubectl, *wait)
    assert (await spec_of(first, namespace))["holderIdentity"] == "operator-1"
    assert first.lease.is_holder()


async def test_a_dead_holder_whose_clock_was_wrong_is_waited_for_no_less_and_no_more(
    enter: Enter, control_plane: ControlPlane, namespace: str
) -> None:
    async def wait_for_the_dead(name: str, renewed: str) -> float:
        """Seconds until an operator takes over a Lease last renewed at that time of some other clock."""
        spec = {"holderIdentity": "dead", "leaseDurationSeconds": DURATION, "renewTime": renewed}
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": spec}
        control_plane.kubectl(f"--namespace={namespace}", "create", "-f", "-", stdin=json.dumps(lease))
        started = time.monotonic()
        heir = await enter(name=name)
        return await moment_of(heir.lease.acquired) - started

    slow, fast = ("slow", "2001-01-01T00:00:00.000000Z"), ("fast", "2099-01-01T00:00:00.000000Z")
    for waited in await asyncio.gather(wait_for_the_dead(*slow), wait_for_the_dead(*fast)):
        assert waited >= DURATION


async def test_a_lease_that_somebody_made_without_a_spec_is_free(
    enter: Enter, control_plane: ControlPlane, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "celeriac.cluster.lease")
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "celeriac"}}
    control_plane.kubectl(f"--namespace={namespace}", "create", "-f", "-", stdin=json.dumps(lease))
    first = await enter()
    await first.acquires()
    assert (await spec_of(first, namespace))["holderIdentity"] == "operator-1"
    await first.lease.release()
    assert "holderIdentity" not in await spec_of(first, namespace)
    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    name = f"lease {namespace}/celeriac"
    assert told == [("INFO", f"{name} acquired"), ("INFO", f"{name} released")]


async def test_a_steady_holder_writes_once_per_period_and_reads_nothing(enter: Enter) -> None:
    """Counted over ten renewals, however long a busy machine takes for them, and anew where one was not answered."""
    first = await enter()
    await first.acquires()
    steady = [UNANSWERED]
    for _ in range(5):
        while not first.requests.empty():
            first.requests.get_nowait()
        started = time.monotonic()
        steady = [await asyncio.wait_for(first.requests.get(), PATIENCE) for _ in range(10)]
        if UNANSWERED not in steady:
            break
        await first.acquires()  # again, if it was lost
    assert set(steady) == {("update", "leases", 200)}
    assert time.monotonic() - started > 8 * RETRY


@pytest.mark.full
async def test_a_herd_of_requests_does_not_delay_a_renewal(enter: Enter, namespace: str) -> None:
    """Each of them is a watch, which has no end of its own: ten times as many as may be under way at once."""
    first = await enter()
    await first.acquires()

    async def watch() -> None:
        path, query = SECRETS.collection(namespace), {"watch": "true", "resourceVersion": "0"}
        await first.api.connection.request("list", "secrets", path, query=query, timeout_seconds=PATIENCE)

    async def outlive_the_deadline() -> None:
        renewals = 0
        while renewals * RETRY < 2 * RENEW_DEADLINE:
            renewals += await first.requests.get() == ("update", "leases", 200)

    herd = [asyncio.create_task(watch()) for _ in range(10 * REQUESTS_AT_ONCE)]
    losing = asyncio.create_task(first.lease.lost.wait())
    renewing = asyncio.create_task(outlive_the_deadline())
    await asyncio.wait([renewing, losing], return_when=asyncio.FIRST_COMPLETED)
    assert not losing.done()
    renewing.result()
    assert not any(request.done() for request in herd)
    for task in (*herd, losing):
        task.cancel()
    await asyncio.wait([*herd, losing])


def at_zero(key: PoolKey) -> dict[str, Any]:
    labels = {"app": key.name}
    containers = [{"name": "worker", "image": "app:1"}]
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {**key._asdict()}, "spec": spec}


@pytest.mark.full
async def test_a_thousand_scale_ups_at_once_do_not_delay_a_renewal(enter: Enter, namespace: str) -> None:
    """Their answers keep the event loop busy, too. Most are a Conflict, which costs as much."""
    first = await enter()
    await first.acquires()
    keys = [PoolKey(namespace, f"pool-{number}") for number in range(10)]
    made = [await first.api.apply(DEPLOYMENTS, at_zero(key), manager=MANAGER) for key in keys]
    versions = [body["metadata"]["resourceVersion"] for body in made]
    scalings = [
        asyncio.create_task(first.api.patch_scale(keys[number % 10], 3, resource_version=versions[number % 10]))
        for number in range(1000)
    ]
    while not first.requests.empty():
        first.requests.get_nowait()
    renewals, before_the_last = 0, 0
    while renewals < 4 or not all(task.done() for task in scalings):
        if await asyncio.wait_for(first.requests.get(), PATIENCE) == ("update", "leases", 200):
            renewals += 1
            before_the_last += not all(task.done() for task in scalings)
    answers = await asyncio.gather(*scalings, return_exceptions=True)
    # A busy API server takes longer than these requests may: that is no matter of the Lease.
    assert {type(answer) for answer in answers} <= {Scale, Conflict, Unavailable}
    assert before_the_last, "one that had to stand in line would come behind all of them"


async def test_periods_that_would_let_two_operators_act_are_refused(control_plane: ControlPlane) -> None:
    async with await Api.connect(str(control_plane.kubeconfig), timeout_seconds=5) as api:
        with pytest.raises(ValueError, match=r"request timeout \(5 s\) must be less"):
            Lease(api, "default", "celeriac", "me", 15, 10, 2)
        with pytest.raises(ValueError, match="renew deadline"):
            Lease(api, "default", "celeriac", "me", 15, 15, 2)
