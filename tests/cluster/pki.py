"""Certificates of one cluster: a CA of its own and what it signs, made with openssl in milliseconds."""

import base64
from collections.abc import Iterable
from pathlib import Path

import yaml

from tests.cluster.process import run

DAYS = "30"
CURVE = "ec_paramgen_curve:prime256v1"
KEY = ["-newkey", "ec", "-pkeyopt", CURVE, "-nodes"]


class Pki:
    """The files of a cluster's certificates in one folder."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ca = directory / "ca.crt"
        self._ca_key = directory / "ca.key"
        directory.mkdir(parents=True, exist_ok=True)

    def create(self, server_names: Iterable[str], server_addresses: Iterable[str]) -> None:
        """Makes the CA, the API server's certificate (names, IP addresses) and the service accounts' keys."""
        self._request("/CN=celeriac-test-ca", self.ca, self._ca_key, [])
        names = [f"DNS:{name}" for name in server_names] + [f"IP:{address}" for address in server_addresses]
        self._issue(
            "server", "/CN=kube-apiserver", [f"subjectAltName={','.join(names)}", "extendedKeyUsage=serverAuth"]
        )
        run(
            [
                "openssl",
                "genpkey",
                "-algorithm",
                "EC",
                "-pkeyopt",
                CURVE,
                "-out",
                self.key("sa"),
            ]
        )
        run(["openssl", "pkey", "-in", self.key("sa"), "-pubout", "-out", self.directory / "sa.pub"])

    def client(self, name: str, user: str, groups: Iterable[str] = ()) -> None:
        """Issues a client certificate: Kubernetes reads the user from CN and the groups from O."""
        subject = "".join(f"/O={group}" for group in groups) + f"/CN={user}"
        self._issue(name, subject, ["extendedKeyUsage=clientAuth"])

    def certificate(self, name: str) -> Path:
        """The file of a certificate."""
        return self.directory / f"{name}.crt"

    def key(self, name: str) -> Path:
        """The file of a private key."""
        return self.directory / f"{name}.key"

    def kubeconfig(self, url: str, file: Path, name: str) -> Path:
        """Writes a kubeconfig that needs no other file, for a client certificate issued before."""
        user = {"client-certificate-data": _base64(self.certificate(name)), "client-key-data": _base64(self.key(name))}
        return self._write_kubeconfig(url, file, user)

    def token_kubeconfig(self, url: str, file: Path, token: str) -> Path:
        """Writes a kubeconfig for a bearer token."""
        return self._write_kubeconfig(url, file, {"token": token})

    def _write_kubeconfig(self, url: str, file: Path, user: dict[str, str]) -> Path:
        cluster = {"server": url, "certificate-authority-data": _base64(self.ca)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "celeriac", "cluster": cluster}],
            "users": [{"name": "user", "user": user}],
            "contexts": [{"name": "celeriac", "context": {"cluster": "celeriac", "user": "user"}}],
            "current-context": "celeriac",
        }
        file.touch(mode=0o600)
        file.write_text(yaml.safe_dump(config))
        return file

    def _issue(self, name: str, subject: str, extensions: list[str]) -> None:
        extra = [word for extension in extensions for word in ("-addext", extension)]
        signer = ["-CA", str(self.ca), "-CAkey", str(self._ca_key)]
        self._request(subject, self.certificate(name), self.key(name), [*signer, *extra])

    def _request(self, subject: str, certificate: Path, key: Path, extra: list[str]) -> None:
        output = ["-keyout", str(key), "-out", str(certificate)]
        run(["openssl", "req", "-x509", *KEY, "-subj", subject, "-days", DAYS, *output, *extra])


def _base64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
