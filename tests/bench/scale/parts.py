"""The parts of the bench, each on a world whose pools are there: what each measures goes into its figures."""

import random
import re
import sys
import time
from collections.abc import Sequence

from tests.bench.scale.api import APPS, CELERIAC, Body, at_once
from tests.bench.scale.figures import Figures, since
from tests.bench.scale.usage import Cost, Requests, rss_mib, scrape, summed, timed_scrape
from tests.bench.scale.world import FLOOR, NAMESPACE, REPLICAS, TICK_SECONDS, World, index, names
from tests.cluster.progress import step

START_SECONDS = 2.0
"""In which the operator lists what is there, and begins its watches."""
QUIET_SECONDS, QUIET_AT_MOST = 5.0, 60.0
FRESH_SECONDS = 5.0
"""The operator answers a scrape that follows closely on another one from what it has."""
REACTION_LIMIT, RESTART_LIMIT, EMPTY_LIMIT = 30.0, 120.0, 180.0
WARNING = re.compile(r"^\S+ \S+ (?:WARNING|ERROR|CRITICAL) .*", re.MULTILINE)
SHOWN_WARNINGS = 20
FLOORS = 100
AT_ONCE = 100
BROKERS, HANG = 50, 3


def create(world: World, figures: Figures, limit: float) -> bool:
    """Make the pools by several clients; whether all were reconciled within the limit, in seconds."""
    wanted = names(figures.pools)
    time.sleep(START_SECONDS)
    world.audit.read()
    with figures.under_load("creation"), step(f"create {len(wanted)} pools") as progress:
        began = time.perf_counter()
        at_once(world.create, wanted)
        figures.values["objects s"] = time.perf_counter() - began
        progress.say("objects are there")
        made = world.deployments.first(0, wanted, lambda _: True, limit - (time.perf_counter() - began))
        progress.say("Deployments are there")
        left = max(1.0, limit - (time.perf_counter() - began))
        told = world.pools.first(0, wanted, bool, left)
    for name, seen in (("deployments s", made), ("statuses s", told)):
        complete = len(seen) == len(wanted)
        late = f"> {limit:.0f} ({len(seen)} of {len(wanted)})"
        figures.values[name] = max(since(began, seen)) if complete else late
    if len(made) == len(wanted):
        world.acknowledge(wanted)
    asked = settle(world)
    figures.values["requests a pool"] = sum(asked.counts.values()) / len(wanted)
    figures.values["requests"] = asked.told(len(wanted), but="leases")
    return len(told) == len(wanted)


def settle(world: World) -> Requests:
    """Wait until the operator writes nothing but its Lease; all that it asked of the API server, Lease left out."""
    everything, deadline = Requests(), time.monotonic() + QUIET_AT_MOST
    with step("wait until nothing is written any more"):
        while time.monotonic() < deadline:
            fresh = world.audit.read()
            everything.counts.update(fresh.counts)
            if everything.counts and not fresh.writes(but="leases"):
                break
            time.sleep(QUIET_SECONDS)
    for verb, resource in [key for key in everything.counts if key[1] == "leases"]:
        del everything.counts[verb, resource]
    return everything


def floor(world: World, figures: Figures) -> None:
    """What the API server and the watch take by themselves, with Deployments that are no pool's.

    Of creation: pools, Deployments and statuses by as many clients, nobody thinking in between.
    """
    copy = strip(world.client.get(f"{APPS}/namespaces/{NAMESPACE}/deployments/{names(1)[0]}"))
    copies = [f"floor-{number:05}" for number in range(FLOORS)]

    def three_requests(name: str) -> None:
        world.create(name, FLOOR)
        world.client.post(f"{APPS}/namespaces/{FLOOR}/deployments", copy | {"metadata": {"name": name}})
        world.client.patch(
            f"{CELERIAC}/namespaces/{FLOOR}/celeryworkerpools/{name}/status", {"status": {"replicas": 0}}
        )

    with figures.under_load("floor"), step("the floor: what no operator can be faster than"):
        began = time.perf_counter()
        at_once(three_requests, copies)
        figures.values["floor creation s"] = (time.perf_counter() - began) / FLOORS * figures.pools
        world.deployments.settled(copies, lambda it: it.replicas == 0, REACTION_LIMIT)
        single: list[float] = []
        for name in copies[:30]:
            mark, began = world.deployments.mark(), time.perf_counter()
            world.client.scale(name, REPLICAS, FLOOR)
            single += since(began, world.deployments.first(mark, [name], lambda it: it.replicas > 0, REACTION_LIMIT))
        figures.sample("floor one", single, 30, REACTION_LIMIT)
        mark, began = world.deployments.mark(), time.perf_counter()
        at_once(lambda name: world.client.scale(name, 2 * REPLICAS, FLOOR), copies)
        seen = world.deployments.first(mark, copies, lambda it: it.replicas == 2 * REPLICAS, REACTION_LIMIT)
        figures.sample("floor all", since(began, seen), FLOORS, REACTION_LIMIT)


def strip(deployment: Body) -> Body:
    """The same again for another name, without what makes it a pool's."""
    return {key: deployment[key] for key in ("apiVersion", "kind", "spec")}


def idle(world: World, figures: Figures, seconds: float) -> None:
    """What so many pools without work cost for a while."""
    with figures.under_load("idle"), step(f"idle for {seconds:.0f} s"):
        earlier = scrape(world.operator)
        time.sleep(2)
        world.audit.read()
        before = Cost.now(world.operator, world.servers[0])
        time.sleep(seconds)
        after = Cost.now(world.operator, world.servers[0])
        asked = world.audit.read()
        figures.values["rss MiB"] = rss_mib(world.operator.pid)
        span = after.moment - before.moment
        later = scrape(world.operator)
        time.sleep(FRESH_SECONDS)
        one = timed_scrape(world.operator, 4.0)
    figures.values |= {
        "idle %": 100 * (after.cpu - before.cpu) / span,
        "cpu a tick ms": 1000 * (after.cpu - before.cpu) / span * TICK_SECONDS,
        "writes/s": asked.writes(but="leases") / span,
        "reads/s": asked.reads() / span,
        "idle requests": asked.told(span),
        "commands/s": (after.commands - before.commands) / span,
        "redis %": 100 * (after.redis_cpu - before.redis_cpu) / span,
        **{name: per_run(earlier, later, metric) for name, metric in DURATIONS.items()},
        "scrape s": one.seconds,
        "scrape lines": one.lines,
        "scrape stall s": one.stall,
    }


DURATIONS = {"reading ms": "celeriac_broker_read_duration_seconds", "tick ms": "celeriac_tick_duration_seconds"}


def per_run(earlier: str, later: str, metric: str) -> float:
    """Milliseconds that one run of what a histogram times took, between two scrapes."""
    total, runs = (summed(later, f"{metric}_{part}") - summed(earlier, f"{metric}_{part}") for part in ("sum", "count"))
    return 1000 * total / runs if runs else 0.0


def burst(world: World, chosen: Sequence[str]) -> list[float]:
    """As `react`; then the pools go back to zero."""
    seconds = react(world, chosen)
    empty(world, chosen)
    return seconds


def react(world: World, chosen: Sequence[str]) -> list[float]:
    """Seconds from the LPUSH until the watch shows the final count, of all pools that reach it."""
    mark, pushed = world.deployments.mark(), time.perf_counter()
    world.push(chosen)
    seen = world.deployments.first(mark, chosen, lambda it: it.replicas == REPLICAS, REACTION_LIMIT)
    return since(pushed, seen)


def empty(world: World, chosen: Sequence[str]) -> float:
    """Take the work away, as if it were done; seconds until all are at zero again, at most EMPTY_LIMIT."""
    world.acknowledge(chosen)
    began = time.perf_counter()
    world.take_away(chosen)
    while not world.deployments.settled(chosen, lambda it: it.replicas == 0, QUIET_SECONDS):
        if time.perf_counter() - began > EMPTY_LIMIT:
            break
        world.acknowledge(name for name in chosen if world.deployments.now(name).is_unseen)
    return time.perf_counter() - began


def one_among(world: World, figures: Figures, runs: int) -> None:
    """A burst for one pool of all, at a random phase of the tick, while the others rest."""
    seconds: list[float] = []
    with figures.under_load("one"), step(f"bursts for one pool among {figures.pools}") as progress:
        for run in range(runs):
            seconds += one_burst(world, names(figures.pools))
            progress.say(f"{run + 1} of {runs}")
    figures.sample("one", seconds, runs, REACTION_LIMIT)


def many_at_once(world: World, figures: Figures, rounds: int) -> None:
    """A burst for 100 pools at the same moment."""
    seconds: list[float] = []
    with figures.under_load("all"), step(f"bursts for {AT_ONCE} of {figures.pools} pools at once") as progress:
        for number in range(rounds):
            time.sleep(random.uniform(2, 2 + 2 * TICK_SECONDS))
            seconds += burst(world, random.sample(names(figures.pools), AT_ONCE))
            progress.say(f"{number + 1} of {rounds}")
    figures.sample("all", seconds, rounds * AT_ONCE, REACTION_LIMIT)


def hanging_brokers(world: World, figures: Figures, runs: int, rounds: int) -> None:
    """Some brokers hang from one moment on (SIGSTOP: they accept, and never answer): the pools on the others go on."""
    frozen = range(0, len(world.servers), len(world.servers) // HANG)[:HANG]
    others = [name for name in names(figures.pools) if index(name) % len(world.servers) not in frozen]
    with figures.under_load("brokers"), step(f"{len(world.servers)} brokers, {HANG} of them hang") as progress:
        sound = [each for _ in range(runs) for each in one_burst(world, others)]
        figures.sample("brokers before", sound, runs, REACTION_LIMIT)
        for number in frozen:
            world.servers[number].freeze()
        progress.say("they hang")
        single = [each for _ in range(runs) for each in one_burst(world, others)]
        figures.sample("brokers one", single, runs, REACTION_LIMIT)
        every = [each for _ in range(rounds) for each in burst(world, others)]
        figures.sample("brokers all", every, rounds * len(others), REACTION_LIMIT)
        for number in frozen:
            world.servers[number].thaw()
        progress.say("they answer again")
        back = [name for name in names(figures.pools) if name not in others]
        figures.sample("brokers back", react(world, back), len(back), REACTION_LIMIT)


def one_burst(world: World, among: Sequence[str]) -> list[float]:
    """For one pool by chance, at a random phase of the tick."""
    time.sleep(random.uniform(0.5, 0.5 + 2 * TICK_SECONDS))
    return burst(world, [random.choice(among)])


def restart(world: World, figures: Figures) -> None:
    """Work comes to all pools while there is no operator; then it is started anew."""
    wanted = names(figures.pools)
    with figures.under_load("restart"), step(f"restart with work waiting in {len(wanted)} pools") as progress:
        world.operator.stop()
        world.audit.begin_anew()
        world.push(wanted)
        mark, began = world.deployments.mark(), time.perf_counter()
        world.operator.start()
        acted = world.deployments.first(mark, wanted, lambda it: it.replicas > 0, RESTART_LIMIT)
        progress.say("all are acted on")
        final = world.deployments.first(mark, wanted, lambda it: it.replicas == REPLICAS, RESTART_LIMIT)
        figures.sample("restart", since(began, acted), len(wanted), RESTART_LIMIT)
        figures.sample("restart final", since(began, final), len(wanted), RESTART_LIMIT)
        progress.say("all are at their final count")
        figures.values["back to zero s"] = empty(world, wanted)


def end(world: World, figures: Figures) -> None:
    """What is to be said of the whole run."""
    world.audit.read()
    warnings = WARNING.findall(world.operator.log())
    for line in warnings[:SHOWN_WARNINGS]:
        print(f"  said: {line}", file=sys.stderr)
    figures.values |= {
        "lease gap s": world.audit.longest_gap,
        "warnings": float(len(warnings)),
        "rss after MiB": rss_mib(world.operator.pid),
        "peak MiB": world.operator.peak_mib(),
    }
