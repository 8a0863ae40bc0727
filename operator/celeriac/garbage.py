"""When Python looks for garbage in cycles, and what is free goes back to the system: seldom, and at no bad moment.

Most of what the operator holds are records that live for hours. The collector's own rule looks through all of them
each time that they have grown by a quarter, and holds the event loop for 0.1 s for 1,000 pools. So what is there after
a look is set aside, and young objects are looked at a tenth as often.
"""

import asyncio
import ctypes
import gc
from typing import Any, Final

YOUNG_OBJECTS: Final = 10_000
"""After so many new objects the young ones are looked through: some megabytes."""
TRIM_SECONDS: Final = 30.0
"""What is free is given back this often, which takes 1 to 2 ms."""
LOOK_EVERY: Final = 10
"""Everything is looked through each time after so many: what was set aside may have become garbage."""


async def collect_now_and_then(listed: asyncio.Event) -> None:
    """Look through everything once the cluster has been listed, and then every five minutes, for ever."""
    gc.set_threshold(YOUNG_OBJECTS, 10, 10)
    trim = _trim()
    await listed.wait()
    while True:
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        for _ in range(LOOK_EVERY):
            trim(0)
            await asyncio.sleep(TRIM_SECONDS)


def _trim() -> Any:
    """What gives free memory back: glibc keeps what bursts took. Other C libraries have nothing like it."""
    return getattr(ctypes.CDLL(None), "malloc_trim", lambda _: None)
