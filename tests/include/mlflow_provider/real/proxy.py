"""What stands between people and their MLflow: a reverse proxy that takes a path prefix off or ends TLS."""

from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ..scripted import LocalServer

OF_ONE_HOP = {"connection", "keep-alive", "transfer-encoding"}


class ReverseProxy(LocalServer):
    """Forwards what comes in below a path prefix, without the prefix.

    :param target: address of the server behind it
    :param prefix: such as ``/team``
    :param certificate: file with a certificate and its key, for TLS
    """

    def __init__(self, target: str, prefix: str = "", certificate: Path | None = None) -> None:
        super().__init__(_forwarder(target, prefix), certificate)
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}{prefix}"


class Authority:
    """A certificate authority that no machine knows.

    :param folder: an empty folder for its files
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "A private authority")])
        own = self._build(self._name, self._key).add_extension(x509.BasicConstraints(True, None), critical=True)
        self.bundle = self._write("authority.pem", own.sign(self._key, hashes.SHA256()))

    def certify(self, *names: str) -> Path:
        """Return a file with a certificate for this machine, by other names too, and the certificate's key."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
        here = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1")), *map(x509.DNSName, names)])
        signed = self._build(name, key).add_extension(here, critical=False).sign(self._key, hashes.SHA256())
        return self._write("server.pem", signed, key)

    def _build(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return x509.CertificateBuilder(
            issuer_name=self._name,
            subject_name=subject,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - timedelta(hours=1),
            not_valid_after=now + timedelta(days=1),
        )

    def _write(self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey | None = None) -> Path:
        file = self._folder / name
        content = certificate.public_bytes(serialization.Encoding.PEM)
        if key:
            content += key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        file.write_bytes(content)
        return file


def _forwarder(target: str, prefix: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if not self.path.startswith(f"{prefix}/"):
                self.send_error(404)
                return
            onward = HTTPConnection(urlsplit(target).netloc)
            onward.request(self.command, self.path.removeprefix(prefix), body, dict(self.headers.items()))
            self.give_back(onward)

        def give_back(self, onward: HTTPConnection) -> None:
            answer = onward.getresponse()
            content = answer.read()
            onward.close()
            headers = {name: value for name, value in answer.getheaders() if name.lower() not in OF_ONE_HOP}
            self.send_response_only(answer.status, answer.reason)
            for header in ({**headers, "Content-Length": str(len(content))}).items():
                self.send_header(*header)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = forward  # noqa: N815 # names that http.server looks for

        def log_message(self, *args: Any) -> None:
            pass

    return Handler
