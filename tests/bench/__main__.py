"""All benchmarks, one after the other. They print what they measure and assert nothing: machines are noisy."""

import asyncio

from tests.agent import cost
from tests.agent.environments import NEWEST
from tests.bench import bench_broker_read, bench_reaction

ROUNDS = 50

bench_reaction.main()
cost.main(NEWEST, ["prefork"])
asyncio.run(bench_broker_read.main(ROUNDS))
