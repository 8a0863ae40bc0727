"""When Python looks for garbage in cycles: seldom, and not among what stays.

Most of what the operator holds are records that live for hours. The collector's own rule looks through all of them each
time that they have grown by a quarter, and holds the event loop for 0.15 s for 1,000 pools. So what is there after a
look is set aside, and young objects are looked at a tenth as often.
"""

import asyncio
import gc
from typing import Final

YOUNG_OBJECTS: Final = 10_000
"""After so many new objects the young ones are looked through: some megabytes."""
LOOK_SECONDS: Final = 300.0
"""Everything is looked through this often: what was set aside may have become garbage."""


async def collect_now_and_then(listed: asyncio.Event) -> None:
    """Look through everything once the cluster has been listed, and then every LOOK_SECONDS, for ever."""
    gc.set_threshold(YOUNG_OBJECTS, 10, 10)
    await listed.wait()
    while True:
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        await asyncio.sleep(LOOK_SECONDS)
