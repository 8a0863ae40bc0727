"""What a TLS connection is made with: whom it trusts, who it is, and what a handshake may cost.

Whoever runs the server at the other end chooses among what is offered here, and the event loop does the sums. So the
dear kinds are not offered: a Diffie-Hellman exchange of 8192 bits takes 0.24 s (measured; 3 ms on a curve), in each
connection of each pool that names such a server.
"""

import os
import re
import ssl
from functools import cache
from pathlib import Path
from typing import Any, Final

from celeriac.api.reasons import Reason
from celeriac.brokers.address import TlsMaterial
from celeriac.brokers.doubt import BrokerDoubt
from celeriac.brokers.redis.url import RedisTarget

CURVES: Final = ("prime256v1", "X25519", "secp384r1", "secp521r1")
"""One is offered at a time: to name one leaves out all other groups. Every TLS 1.3 has the first (RFC 8446, 9.1)."""
CHEAP: Final = ("kx-ecdhe", "kx-any")
"""How ciphers exchange keys; those of TLS 1.3 leave it to the groups."""
_OF_AN_AUTHORITY: Final = re.compile(r"[0-9a-f]{8}\.[0-9]+")


class TlsContext(ssl.SSLContext):
    """Offers one curve, and another where a server has none of it."""

    _curves: tuple[str, ...] = CURVES

    def offer(self) -> None:
        """Offer the first curve that is not known to fail."""
        self.set_ecdh_curve(self._curves[0])

    def offer_another(self) -> None:
        """Offer the next; after the last comes the first."""
        self._curves = (*self._curves[1:], self._curves[0])
        self.offer()


def tls_context(target: RedisTarget, tls: TlsMaterial, field: str = "tls") -> TlsContext:
    """Build what TLS needs: the system's authorities and the given one, and the client certificate.

    Raises BrokerDoubt (TlsFailed) naming the text that is no PEM, or a certificate and key that do not match; `field`
    is where they are in spec.broker.
    """
    context = TlsContext(ssl.PROTOCOL_TLS_CLIENT)
    context.options |= ssl.OP_NO_RENEGOTIATION
    if (folder := _folder_of_authorities()) is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(capath=folder)
    context.offer()
    offered: Any = context.get_ciphers()
    context.set_ciphers(":".join(each["name"] for each in offered if each["kea"] in CHEAP))
    context.check_hostname = target.check_hostname and target.verify is not ssl.CERT_NONE
    context.verify_mode = target.verify
    if tls.ca:
        try:
            context.load_verify_locations(cadata=tls.ca)
        except ssl.SSLError as error:
            raise BrokerDoubt(
                Reason.BROKER_TLS_FAILED,
                f"the CA of the broker is no certificate in PEM form: mend spec.broker.{field}.caFrom",
            ) from error
    if tls.certificate or tls.private_key:
        _load_client_certificate(context, f"{tls.certificate or ''}\n{tls.private_key or ''}\n", field)
    return context


def _load_client_certificate(context: ssl.SSLContext, pem: str, field: str) -> None:
    """Give OpenSSL the certificate and its key; it wants a file, so it gets one that exists in memory only."""
    descriptor = os.memfd_create("client-certificate")
    try:
        os.write(descriptor, pem.encode())
        # An encrypted key would make OpenSSL ask on the terminal.
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password="")
    except (ssl.SSLError, ValueError) as error:
        raise BrokerDoubt(
            Reason.BROKER_TLS_FAILED,
            f"the client certificate of the broker cannot be used: spec.broker.{field} needs certificateFrom and"
            " privateKeyFrom, both in PEM form, without a passphrase, and belonging together",
        ) from error
    finally:
        os.close(descriptor)


@cache
def _folder_of_authorities() -> str | None:
    """Where the system's authorities are looked up one at a time; None: OpenSSL's default, which is to load them all.

    All of them are 0.5 MiB and 30 ms for each context. Where the folder holds as many as the bundle, it is enough.
    """
    paths = ssl.get_default_verify_paths()
    folder, bundle = Path(paths.capath or paths.openssl_capath), Path(paths.cafile or paths.openssl_cafile)
    try:
        in_bundle = bundle.read_bytes().count(b"-----BEGIN CERTIFICATE-----")
        in_folder = sum(_OF_AN_AUTHORITY.fullmatch(each.name) is not None for each in folder.iterdir())
    except OSError:
        return None
    return str(folder) if in_folder == in_bundle > 0 else None
