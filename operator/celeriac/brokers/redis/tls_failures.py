"""Why a TLS connection was not made: OpenSSL's words, and what a person does about them."""

import re
import ssl
from collections.abc import Mapping
from typing import Final

from celeriac.api.reasons import Reason
from celeriac.brokers.doubt import BrokerDoubt

_CA: Final = "give the certificate of the authority that signed it in spec.broker.tls.caFrom (files that the URL names"
_UNKNOWN_CA: Final = (
    f"its certificate is of an authority that the operator does not know: {_CA} are those of the worker's image)"
)
_NAME: Final = (
    "its certificate is not for the name that the broker URL dials: write a name into the URL that the certificate has"
    " (openssl x509 -noout -ext subjectAltName lists them), or make a certificate with this one"
)

# X509_V_ERR_* of OpenSSL (include/openssl/x509_vfy.h).
_VERIFY: Final[Mapping[int, str]] = {
    9: "its certificate is not valid yet: check the clocks of this node and of who issued it, or issue it anew",
    10: "its certificate has expired: renew it, and let Redis load the new one",
    18: "its certificate is signed by itself: give that certificate in spec.broker.tls.caFrom, or use one that an"
    " authority has signed",
    19: _UNKNOWN_CA,
    20: _UNKNOWN_CA,
    21: "its certificate comes without those between it and its authority: let Redis send the whole chain, or give the"
    " missing ones in spec.broker.tls.caFrom",
    23: "its certificate has been revoked: issue another one",
    24: "the certificate in spec.broker.tls.caFrom is not that of an authority (CA:TRUE is missing): give the"
    " authority's own",
    26: "its certificate is not made for servers: issue one with the extended key usage serverAuth",
    62: _NAME,
    64: _NAME,
    66: "the key of its certificate is too short for OpenSSL today: issue a certificate with a longer key",
    67: "the key of its authority is too short for OpenSSL today: issue a certificate by one with a longer key",
    68: "its authority signs by a method that is too weak for OpenSSL today: issue a certificate signed with SHA-256",
}

_CLIENT_CERTIFICATE: Final = "spec.broker.tls.certificateFrom and .privateKeyFrom"
_REASONS: Final = (
    (
        r"CERTIFICATE_REQUIRED",
        f"it asks for a client certificate: give one in {_CLIENT_CERTIFICATE}",
    ),
    (
        r"HANDSHAKE_FAILURE",
        f"it agrees on nothing with the operator: if it asks for a client certificate, give one in"
        f" {_CLIENT_CERTIFICATE}, else let it exchange keys by ECDHE (tls-ciphers) on the curve P-256, X25519,"
        " P-384 or P-521",
    ),
    (
        r"ALERT_UNKNOWN_CA",
        f"it does not know the authority of the client certificate: let Redis know it (tls-ca-cert-file), or give"
        f" another one in {_CLIENT_CERTIFICATE}",
    ),
    (r"ALERT_CERTIFICATE_EXPIRED", f"the client certificate has expired: renew it in {_CLIENT_CERTIFICATE}"),
    (r"ALERT_CERTIFICATE_REVOKED", f"the client certificate was revoked: give another one in {_CLIENT_CERTIFICATE}"),
    (
        r"ALERT_(BAD|UNSUPPORTED)_CERTIFICATE|ALERT_CERTIFICATE_UNKNOWN|ALERT_DECRYPT_ERROR",
        f"it refuses the client certificate: give one in {_CLIENT_CERTIFICATE} that is made for clients (extended key"
        " usage clientAuth) and signed by the authority that Redis trusts (tls-ca-cert-file)",
    ),
    (
        r"WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|PACKET_LENGTH_TOO_LONG|UNEXPECTED_MESSAGE",
        "it does not speak TLS on this port: use redis://, or the TLS port",
    ),
    (
        r"PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|VERSION_TOO_LOW|NO_PROTOCOLS_AVAILABLE",
        "it speaks none of the TLS versions that the operator does: allow TLS 1.2 or 1.3 in Redis (tls-protocols)",
    ),
    (
        r"NO_SHARED_CIPHER|INSUFFICIENT_SECURITY|DH_KEY_TOO_SMALL|EE_KEY_TOO_SMALL|NO_CIPHERS",
        "it shares no secure cipher with the operator: allow current ones in Redis (tls-ciphers, tls-ciphersuites)",
    ),
    (
        r"UNRECOGNIZED_NAME",
        "it serves nobody of the name that the broker URL dials: write the name that the service gives you",
    ),
    (
        r"UNEXPECTED_EOF|ZERO_RETURN|EOF occurred",
        "it ended the connection amid the handshake: check that something runs behind its load balancer or proxy, that"
        " the port is its TLS port, and that it can read its own certificate (its log says so)",
    ),
)


def agrees_on_nothing(error: ssl.SSLError) -> bool:
    """Whether the server found nothing that it takes among what was offered."""
    return "HANDSHAKE_FAILURE" in str(error.reason or "")


def tls_doubt(error: ssl.SSLError, where: str) -> BrokerDoubt:
    """Turn an error of OpenSSL into a BrokerDoubt."""
    return BrokerDoubt(Reason.BROKER_TLS_FAILED, f"{where}: {_cure(error)}")


def _cure(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        code = getattr(error, "verify_code", 0)
        unknown = (
            f"its certificate is not trusted (OpenSSL's verify code {code}): {_CA} are those of the worker's image)"
        )
        return _VERIFY.get(code, unknown)
    reason = str(getattr(error, "reason", None) or "")
    known = next((cure for pattern, cure in _REASONS if re.search(pattern, f"{reason} {error}")), None)
    told = reason if re.fullmatch(r"[A-Z0-9_]{1,60}", reason) else "no reason given"
    return known or f"TLS failed ({told}): check certificates and TLS versions"
