"""What tells that a broker's Secrets have changed, and nothing else of them.

It stands in the annotation of a template, which more people may read than Secrets: a plain hash of a URL would let them
try passwords. So each value is hashed with the uid of its Secret as the key: 122 random bits, which nobody sees who may
not read the Secret itself.
"""

import hashlib
import hmac
from collections.abc import Iterable
from typing import Final

from celeriac.cluster.client import SecretText

LENGTH: Final = 32
"""Hexadecimal digits: 128 bits."""


def secret_digest(values: Iterable[SecretText]) -> str | None:
    """The digest of all texts in their order; None for none. Another Secret of the same name has another."""
    macs = [hmac.digest(value.uid.encode(), value.text.encode(), "sha256") for value in values]
    return hashlib.sha256(b"".join(macs)).hexdigest()[:LENGTH] if macs else None
