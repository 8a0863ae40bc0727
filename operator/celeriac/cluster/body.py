"""What everybody calls an object of the API."""

from collections.abc import Mapping
from typing import Any

Body = Mapping[str, Any]
"""An object as the API server gives it, or a part of one; nobody changes it."""
