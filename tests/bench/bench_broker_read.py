"""What one reading of many pools costs: scripts against plain commands, on a real Redis.

    python -m tests.bench.bench_broker_read [--rounds 50]

Prints, for 1, 100 and 1000 pools with four lists each, milliseconds per reading (median) and the time that Redis itself
was busy with it. Nothing is asserted: the ratios are what is worth comparing between machines.
"""

import argparse
import asyncio
import statistics
import time

from celeriac.brokers.address import BrokerAddress
from celeriac.brokers.readings import QueueSet
from celeriac.brokers.redis.broker import RedisBroker
from celeriac.brokers.redis.url import parse
from tests.cluster.ports import HOST
from tests.dialers import dialer
from tests.integration.redis_server import RedisServer

POOLS = (1, 100, 1000)
USERS = ["user scripts on nopass ~* +@all", "user plain on nopass ~* +@read +@connection +info +time"]


async def measure(server: RedisServer, pools: list[QueueSet], rounds: int, user: str) -> tuple[float, float]:
    """Milliseconds per reading as the operator sees it (median), and of CPU in Redis (mean)."""
    broker = RedisBroker(parse(BrokerAddress(f"redis://{user}:x@{HOST}:{server.port}/0")), dialer())
    with server.client() as client:
        await broker.queues.read(pools)
        seconds, busy = [], busy_seconds(client.info("cpu"))
        for _ in range(rounds):
            began = time.perf_counter()
            await broker.queues.read(pools)
            seconds.append(time.perf_counter() - began)
        busy = busy_seconds(client.info("cpu")) - busy
    await broker.close()
    return 1000 * statistics.median(seconds), 1000 * busy / rounds


def busy_seconds(cpu: dict[str, float]) -> float:
    """CPU seconds of the server so far."""
    return cpu["used_cpu_sys"] + cpu["used_cpu_user"]


async def main(rounds: int) -> None:
    """Print a line for each number of pools."""
    columns = ("pools", "script ms", "plain ms", "ratio", "script CPU", "plain CPU", "ratio")
    print(*(f"{column:>10}" for column in columns))
    with RedisServer(config=USERS) as server:
        with server.client() as client:
            for i in range(0, max(POOLS), 2):
                client.lpush(f"queue-{i}", *["{}"] * 200)
        for count in POOLS:
            pools = [QueueSet((f"queue-{i}",)) for i in range(count)]
            script, script_cpu = await measure(server, pools, rounds, "scripts")
            plain, plain_cpu = await measure(server, pools, rounds, "plain")
            figures = (script, plain, plain / script, script_cpu, plain_cpu, plain_cpu / max(script_cpu, 0.001))
            print(f"{count:>10}", *(f"{figure:>10.2f}" for figure in figures))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50, help="readings for each number of pools (default 50)")
    asyncio.run(main(parser.parse_args().rounds))
