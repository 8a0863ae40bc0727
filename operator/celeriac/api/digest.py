"""What the agent's files are known by: ConfigMaps and labels outlive the operator's versions, so it never changes."""

import hashlib
import json
from collections.abc import Mapping


def content_digest(files: Mapping[str, str]) -> str:
    """SHA-256 of texts by name, in hexadecimal; names hold its first digits."""
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
