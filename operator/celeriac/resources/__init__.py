"""Pure builders: a pool in, a fresh dict out."""

from celeriac.resources.deployment import build_deployment
from celeriac.resources.labels import selector

__all__ = ["build_deployment", "selector"]
