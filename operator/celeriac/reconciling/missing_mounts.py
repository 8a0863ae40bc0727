"""Which ConfigMaps and Secrets a pool's volumes want that are not there: of that a Pod's status does not tell.

They are looked for while a Pod has a node and no volumes yet; otherwise nothing is asked.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from celeriac.api.keys import PoolKey
from celeriac.cluster.client import Api
from celeriac.cluster.errors import ApiError, NotFound
from celeriac.cluster.paths import CONFIG_MAPS, SECRETS
from celeriac.cluster.records import PodRecord
from celeriac.pool.model import WorkerPool

AGAIN_SECONDS: Final = 10.0
"""After which is asked anew: what is missing may have been made."""
MOST: Final = 20
"""References that are followed."""
KINDS: Final = {"ConfigMap": CONFIG_MAPS, "Secret": SECRETS}


class _Wanted(NamedTuple):
    """An object by its kind and name."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class MissingMounts:
    """Remembers for a while what it has found."""

    def __init__(self, api: Api, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is monotonic."""
        self._api = api
        self._clock = clock
        self._found: dict[PoolKey, tuple[float, tuple[str, ...]]] = {}

    def forget(self, key: PoolKey) -> None:
        """Forget a deleted pool."""
        self._found.pop(key, None)

    async def of(self, pool: WorkerPool, pods: Sequence[PodRecord]) -> tuple[str, ...]:
        """What is missing, by kind and name; where that cannot be asked, nothing."""
        if not any(pod.setting_up and not pod.terminating for pod in pods):
            self.forget(pool.key)
            return ()
        at, found = self._found.get(pool.key, (float("-inf"), ()))
        if self._clock() - at < AGAIN_SECONDS:
            return found
        wanted = dict.fromkeys(islice(_wanted(pool.template.spec.get("volumes", ())), MOST))
        missing = tuple([str(each) for each in wanted if await self._is_missing(pool.key.namespace, each)])
        self._found[pool.key] = self._clock(), missing
        return missing

    async def _is_missing(self, namespace: str, wanted: _Wanted) -> bool:
        try:
            await self._api.read_metadata(KINDS[wanted.kind], namespace, wanted.name)
        except NotFound:
            return True
        except ApiError:
            return False
        return False


def _wanted(volumes: Sequence[Mapping[str, Any]]) -> Iterator[_Wanted]:
    """What volumes cannot be made without. The API server has seen to their form, but not to that of each part."""
    for volume in volumes:
        for source in (volume, *_sources(volume)):
            for field, kind, name in (("configMap", "ConfigMap", "name"), ("secret", "Secret", "name")):
                part = source.get(field)
                if isinstance(part, Mapping) and not part.get("optional"):
                    named = part.get("secretName") or part.get(name)
                    if isinstance(named, str) and named:
                        yield _Wanted(kind, named)


def _sources(volume: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    projected = volume.get("projected")
    sources = projected.get("sources") if isinstance(projected, Mapping) else None
    return [each for each in sources or () if isinstance(each, Mapping)]
