"""Somebody else's words without what looks like a credential: an error message may quote the URL that it failed for."""

import re
from typing import Final

HIDDEN: Final = "***"
_WORD: Final = re.compile(r"\S+")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]{0,30}://", re.IGNORECASE)
_NAME: Final = (
    r"(?:passw(?:or)?d|passphrase|pwd|secret|token|api[-_]?key|access[-_]?key|private[-_]?key|credential|signature)"
)
_SETTING: Final = re.compile(rf"({_NAME}[\w.-]*['\"]?\s*[=:]\s*)(?:'[^']*'|\"[^\"]*\"|[^\s,;&)]+)", re.IGNORECASE)
_NUMBER: Final = re.compile(
    r"(Port could not be cast to integer value as |invalid literal for int\(\) with base \d+: ).*"
)
"""urllib takes what is behind the first colon for a port, where a password holds a slash."""
_HEADER: Final = re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{8,}", re.IGNORECASE)


def without_credentials(text: str) -> str:
    """The text with what looks like a password, a token or a key hidden; rather too much of it than too little."""
    text = _WORD.sub(lambda found: _without_user(found[0]), text)
    text = _NUMBER.sub(rf"\1{HIDDEN}", text)
    text = _SETTING.sub(rf"\1{HIDDEN}", text)
    return _HEADER.sub(rf"\1 {HIDDEN}", text)


def _without_user(word: str) -> str:
    """Without user and password of a URL, whatever is in them, also where only the part before its path is quoted."""
    before, at, host = word.rpartition("@")
    scheme = _SCHEME.search(before) if at else None
    if scheme is not None:
        return f"{word[: scheme.end()]}{HIDDEN}@{host}"
    return f"{HIDDEN}@{host}" if ":" in before else word
