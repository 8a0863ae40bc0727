"""How deep an object of the API server may be.

Fields of a pool that Kubernetes itself checks (an affinity, volumes) are kept as they are, however deep. The API server
takes 10,000 levels; Python's parser gives up after 1,000, and with it the list or watch that brought all the others.
"""

import sys
from typing import Final

LEVELS: Final = 25_000
"""Twice what an API server takes, and a little: a deep copy needs two frames for each level.

A level costs at most 200 bytes of a thread's stack (measured on CPython 3.11), of 8 MiB.
"""


def allow_deep_objects() -> None:
    """Let this process read whatever an API server sends."""
    sys.setrecursionlimit(LEVELS)
