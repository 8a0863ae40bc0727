"""Many who show tokens that nobody has issued, each of them another one every time: a process of its own.

python -m tests.faults.strangers PORT SECONDS     # prints `begun`, and at the end as JSON what they were answered
"""

import asyncio
import json
import secrets
import ssl
import sys
from collections import Counter

HOST = "127.0.0.1"
STRANGERS = 100
WARM_SECONDS = 2.0
"""Until it is told that the flood is there: most of them are refused unread by then."""


async def ask(port: int, context: ssl.SSLContext, answers: Counter[str]) -> None:
    """Again and again, until cancelled."""
    while True:
        head = f"GET /metrics HTTP/1.1\r\nHost: celeriac\r\nAuthorization: Bearer {secrets.token_hex(200)}\r\n\r\n"
        writer = None
        try:
            reader, writer = await asyncio.open_connection(HOST, port, ssl=context, local_addr=("127.0.0.2", 0))
            writer.write(head.encode())
            line = await reader.readline()
            answers[line.decode("latin-1").strip() or "nothing"] += 1
        except OSError:
            answers["nothing"] += 1
        finally:
            if writer is not None:
                writer.close()


async def flood(port: int, seconds: float) -> Counter[str]:
    """All of them for so many seconds."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    answers: Counter[str] = Counter()
    tasks = [asyncio.create_task(ask(port, context, answers)) for _ in range(STRANGERS)]
    await asyncio.sleep(WARM_SECONDS)
    print("begun", flush=True)
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return answers


if __name__ == "__main__":
    print(json.dumps(asyncio.run(flood(int(sys.argv[1]), float(sys.argv[2])))))
