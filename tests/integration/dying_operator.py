"""The operator in a process that is killed right after its n-th write of a drain, before it can look at the answer.

python dying_operator.py N [options of python -m celeriac]

What counts: patches of Pods and of scales that the API server has made, and changes of marks that Redis has made.
"""

import os
import signal
import sys
from typing import Any

from celeriac.__main__ import main
from celeriac.brokers.redis.broker import RedisAgents
from celeriac.cluster.connection import Connection

WRITES = {("patch", "pods"), ("patch", "deployments/scale")}


def die_after(writes: int) -> None:
    """Let the operator's own methods be followed by SIGKILL in the end."""
    request, mark = Connection.request, RedisAgents.mark
    left = writes

    def written() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    async def request_and_die(self: Connection, verb: str, resource: str, *arguments: Any, **options: Any) -> Any:
        answer = await request(self, verb, resource, *arguments, **options)
        if (verb, resource) in WRITES:
            written()
        return answer

    async def mark_and_die(self: RedisAgents, *arguments: Any) -> None:
        await mark(self, *arguments)
        written()

    Connection.request = request_and_die  # type: ignore[method-assign]
    RedisAgents.mark = mark_and_die  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    die_after(int(sys.argv.pop(1)))
    main()
