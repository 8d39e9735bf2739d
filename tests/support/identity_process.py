"""A small identity server on loopback, over TLS with a certificate that it makes: for servers that are processes."""

import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PUBLIC_KEY = "Fm9yBzPOoQSKTk7gcVlmEqmqzYZqEmu4vTBnmlrhx9s"


class _Handler(BaseHTTPRequestHandler):
    """Knows nobody, and stores every invite."""

    # Connections stay open: what closes without a word of TLS is an error to who asked.
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer({"algorithms": ["sha256"], "lookup_pepper": "salt"})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.path.endswith("/lookup"):
            self._answer({"mappings": {}})
        else:
            keys = [{"public_key": PUBLIC_KEY}]
            self._answer({"token": "a-token", "display_name": "n...@m...", "public_keys": keys})

    def log_message(self, *_: Any) -> None:
        return

    def _answer(self, body: Mapping[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def running_identity_server() -> Iterator[str]:
    """Its name, `127.0.0.1:port`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    with TemporaryDirectory() as directory:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(_certificate(Path(directory)))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _certificate(directory: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "identity server of a test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = directory / "identity.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path
