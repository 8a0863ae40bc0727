"""Many who read /metrics at once, and some who do it badly: a process of its own, so that it measures itself only.

python -m tests.faults.scrapers PORT SECONDS     # prints as JSON how many scrapes were answered, and the slowest
"""

import asyncio
import contextlib
import json
import sys
import time
from dataclasses import dataclass, field

HOST = "127.0.0.1"
SCRAPERS = 400
SLOW_WRITERS = 100
SLOW_READERS = 20
PAUSE_SECONDS = 1.0
"""Between two scrapes of one scraper."""
DRIP_SECONDS = 0.5
LEAST_SECONDS = 8.0
TIMEOUT_SECONDS = 30.0
"""Three times what Prometheus has: the machine may be busy."""
REQUEST = b"GET /metrics HTTP/1.1\r\nHost: celeriac\r\nAccept-Encoding: identity\r\n\r\n"


@dataclass
class Tally:
    """What became of the scrapes."""

    answered: set[int] = field(default_factory=set)
    seconds: list[float] = field(default_factory=list)
    failed: int = 0
    complete: asyncio.Event = field(default_factory=asyncio.Event)


async def scrape(port: int) -> bytes:
    """One scrape, as Prometheus does it: the whole answer."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(head.decode("latin-1").partition("\r\n")[0])
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        return await reader.readexactly(length)
    finally:
        writer.close()


async def scrape_on(number: int, port: int, tally: Tally) -> None:
    """Scrape again and again."""
    while True:
        began = time.monotonic()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                if b"celeriac_build_info" not in await scrape(port):
                    raise ValueError("these are other metrics")
        except (TimeoutError, OSError, EOFError, ValueError):
            tally.failed += 1
        else:
            tally.answered.add(number)
            if len(tally.answered) == SCRAPERS:
                tally.complete.set()
            tally.seconds.append(time.monotonic() - began)
        await asyncio.sleep(PAUSE_SECONDS)


async def write_slowly(port: int) -> None:
    """A request that never ends (slowloris): a byte now and then, and from the start again when it is cut."""
    while True:
        writer = None
        try:
            _, writer = await asyncio.open_connection(HOST, port)
            writer.write(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
            while True:
                await asyncio.sleep(DRIP_SECONDS)
                writer.write(b"x")
                await writer.drain()
        except OSError:
            await asyncio.sleep(DRIP_SECONDS)
        finally:
            if writer is not None:
                writer.close()


async def read_slowly(port: int) -> None:
    """Ask for everything, and take a hundred bytes of it now and then."""
    while True:
        writer = None
        try:
            reader, writer = await asyncio.open_connection(HOST, port, limit=1024)
            writer.write(REQUEST)
            taken = REQUEST
            while taken:
                taken = await reader.read(100)
                await asyncio.sleep(DRIP_SECONDS)
        except OSError:
            await asyncio.sleep(DRIP_SECONDS)
        finally:
            if writer is not None:
                writer.close()


async def crowd(port: int, seconds: float) -> Tally:
    """All of them until each scraper has been answered, at least for a while, and for so many seconds at most."""
    tally = Tally()
    parts = [
        *(scrape_on(number, port, tally) for number in range(SCRAPERS)),
        *(write_slowly(port) for _ in range(SLOW_WRITERS)),
        *(read_slowly(port) for _ in range(SLOW_READERS)),
    ]
    tasks = [asyncio.create_task(part) for part in parts]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.gather(tally.complete.wait(), asyncio.sleep(LEAST_SECONDS))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return tally


def main() -> None:
    port, seconds = int(sys.argv[1]), float(sys.argv[2])
    tally = asyncio.run(crowd(port, seconds))
    told = {"answered": len(tally.answered), "failed": tally.failed, "slowest": max(tally.seconds, default=0.0)}
    print(json.dumps(told | {"scrapes": len(tally.seconds)}))


if __name__ == "__main__":
    main()
