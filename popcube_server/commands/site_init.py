"""`popcube-server site init`: make this site's certificate, and say what goes into the configurations."""

import argparse
import datetime as dt
import ipaddress
import os
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from popcube_server.app import make_signer
from popcube_server.commands.site_errors import SiteCommandFailed
from synapse_like_config.load import load_config
from synapse_like_config.secret_files import write_missing_file, write_private_file

SUMMARY = "make this site's certificate, and print what its configuration and its peers' need"
LIFETIME = dt.timedelta(days=3650)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--name",
        required=True,
        metavar="NAME",
        help="short and for good: lower-case letters, digits, underscores",
    )
    parser.add_argument(
        "--url", required=True, metavar="URL", help="where the other sites reach it, https://HOST:PORT"
    )
    parser.add_argument(
        "--directory",
        type=Path,
        metavar="DIR",
        help="for the certificate (default: beside the configuration)",
    )


def run(arguments: argparse.Namespace) -> int:
    parts = urlsplit(arguments.url)
    if parts.scheme != "https" or parts.hostname is None or parts.port is None:
        raise SiteCommandFailed("--url must look like https://HOST:PORT")
    loaded = load_config(arguments.config_path)
    if loaded.missing_files:
        for missing in loaded.missing_files:
            write_missing_file(missing, os.urandom)
        loaded = load_config(arguments.config_path)
    directory = (arguments.directory or arguments.config_path[0].parent).absolute()
    certificate_path, key_path = directory / "site.crt", directory / "site.key"
    if not key_path.exists():
        certificate, key = make_certificate(parts.hostname, arguments.name)
        write_private_file(key_path, key.decode())
        certificate_path.write_bytes(certificate)
    signer = make_signer(loaded.config)
    pem = certificate_path.read_text("ascii")
    print("# 1. In this site's configuration (a later `-c` file will do):")
    print(f"sites:\n  name: {arguments.name}\n  port: {parts.port}")
    print(f'  certificate_path: "{certificate_path}"\n  private_key_path: "{key_path}"\n  peers: []')
    print("\n# 2. Under `peers:` of every other site:")
    print(f'    - name: {arguments.name}\n      url: "{arguments.url}"')
    print(f'      verify_key: "{signer.key_id} {signer.verify_key_base64}"')
    print("      certificate: |")
    print("".join(f"        {line}\n" for line in pem.splitlines()), end="")
    print(
        "\n# 3. The same on all sites: server_name, macaroon_secret_key, form_secret, registration_shared_secret."
    )
    return 0


def make_certificate(host: str, name: str) -> tuple[bytes, bytes]:
    """A certificate for this host, signed by itself, and its key; both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"PopCube site {name}")])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # A little in the past, as clocks of machines differ.
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName([_alternative(host)]), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate, private


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
