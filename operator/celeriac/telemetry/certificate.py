"""A certificate of the server's in files that somebody else renews, such as a mounted Secret."""

import logging
import ssl
from pathlib import Path

log = logging.getLogger(__name__)

_Seen = tuple[tuple[int, int], ...]


class Certificate:
    """The TLS of a server; it is read again when its files have changed, for connections that come from then on."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises OSError where the files cannot be read, or are no certificate with its key."""
        self._files = (certificate, key)
        self._seen = self._look()
        self._context = self._read()
        self._told = ""

    def context(self) -> ssl.SSLContext:
        """For the next connection. Files that cannot be read leave the earlier certificate in place."""
        try:
            seen = self._look()
            if seen != self._seen:
                self._seen = seen
                self._context = self._read()
                self._told = ""
                log.info("the certificate of the metrics was read anew")
        except OSError as error:
            if str(error) != self._told:  # once, not for each connection
                log.warning("the certificate of the metrics cannot be read, the earlier one stays: %s", error)
            self._told = str(error)
        return self._context

    def _look(self) -> _Seen:
        """What changes when a file is replaced: its number, and when it was written."""
        found = [file.stat() for file in self._files]
        return tuple((each.st_ino, each.st_mtime_ns) for each in found)

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(*self._files, password=_no_password)
        return context


def _no_password() -> str:
    """Instead of a question at the terminal."""
    raise OSError("the key is encrypted")
