"""A server in front of an EC2: it may speak TLS, and may be too old to know some parameters."""

from __future__ import annotations

import datetime
import http.client
import ipaddress
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from support.http_endpoint import QuietHandler, serving

OLD = ("IncludeDeprecated", "IncludePublicKey", "Latest", "MetadataOptions", "TagSpecification")
"""What a server that stopped learning a decade ago does not know."""


@dataclass
class Front:
    """What is in front, and what was asked of it.

    Args:
        url: where it answers.
        asked: the parameters of every request, in their order.
    """

    url: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)

    def count(self, action: str) -> int:
        """How often an action was asked for."""
        return sum(1 for question in self.asked if question.get("Action") == action)


@contextmanager
def front(
    target_url: str, *, unknown: Sequence[str] = (), certificate: Path | None = None, path: str | None = None
) -> Iterator[Front]:
    """Serve on a loopback port for as long as the context lasts.

    Args:
        target_url: the EC2 behind.
        unknown: parameters that are refused, as they begin on the wire.
        certificate: a PEM file with key and certificate, to speak TLS; default: plain HTTP.
        path: under which it answers; default that of the EC2 behind.
    """
    target = urlsplit(target_url)
    shown = Front()

    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked = {name: values[0] for name, values in parse_qs(body.decode(), keep_blank_values=True).items()}
            shown.asked.append(asked)
            refused = next((key for key in asked if key.startswith(tuple(unknown))), None) if unknown else None
            if refused is not None:
                self.respond(400, "text/xml", _refusal(refused))
                return
            assert target.hostname is not None
            connection = http.client.HTTPConnection(target.hostname, target.port, timeout=60)
            try:
                connection.request("POST", target.path or "/", body, dict(self.headers))
                answer = connection.getresponse()
                self.respond(answer.status, answer.headers.get("Content-Type", "text/xml"), answer.read())
            finally:
                connection.close()

    with serving(Handler, certificate) as url:
        shown.url = f"{url}{target.path if path is None else path}"
        yield shown


def self_signed(directory: Path) -> Path:
    """Write a PEM file with a key and a certificate for 127.0.0.1 that nobody else vouches for."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = directory / "certificate.pem"
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


def _refusal(parameter: str) -> bytes:
    reason = f"The parameter {parameter} is not recognized"
    error = f"<Error><Code>UnknownParameter</Code><Message>{reason}</Message></Error>"
    return f"<Response><Errors>{error}</Errors><RequestID>r-1</RequestID></Response>".encode()
