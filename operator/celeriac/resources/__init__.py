"""Pure builders: a pool in, a fresh dict out."""

from celeriac.resources.agent import build_agent_config
from celeriac.resources.deployment import build_deployment
from celeriac.resources.labels import selector

__all__ = ["build_agent_config", "build_deployment", "selector"]
