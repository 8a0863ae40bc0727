"""Who this worker is."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

MAX_ATTEMPTS = 5


@dataclass(frozen=True)
class Identity:
    """This start of this worker; `process` is new for each start, `started` is Unix seconds on the node's clock."""

    pool_uid: str
    pool: str
    namespace: str
    pod: str
    pod_uid: str
    process: str
    started: float
    max_attempts: int

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], now: float) -> Identity:
        """Read the variables that the operator sets; a name that is missing is replaced by the host's."""
        pod = environ.get("CELERIAC_POD_NAME") or os.uname().nodename
        return cls(
            pool_uid=environ["CELERIAC_POOL_UID"],
            pool=environ.get("CELERIAC_POOL", ""),
            namespace=environ.get("CELERIAC_NAMESPACE", ""),
            pod=pod,
            pod_uid=environ.get("CELERIAC_POD_UID") or pod,
            process=f"{pod}.{uuid.uuid4().hex[:8]}",
            started=now,
            max_attempts=_attempts(environ.get("CELERIAC_MAX_ATTEMPTS", "")),
        )


def _attempts(text: str) -> int:
    """A whole number from 0, which is no limit; the default for everything else."""
    try:
        attempts = int(text)
    except ValueError:
        return MAX_ATTEMPTS
    return attempts if attempts >= 0 else MAX_ATTEMPTS
