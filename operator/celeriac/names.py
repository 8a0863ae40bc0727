"""The names of the API. They stand in objects that outlive the operator's versions: none of them ever changes."""

from typing import Final

GROUP: Final = "celeriac.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "CeleryWorkerPool"
PLURAL: Final = "celeryworkerpools"
POOL_LABEL: Final = f"{GROUP}/pool"
"""Label of all that belongs to a pool: the pool's name."""
