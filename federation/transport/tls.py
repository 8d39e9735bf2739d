"""TLS towards other servers: whose certificates count, and for which name."""

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import translate
from pathlib import Path
from typing import Any

import service_identity.hazmat
import service_identity.pyopenssl
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    TLSVersion,
    platformTrust,
    trustRootFromCertificates,
)
from zope.interface import implementer

_VERSIONS: Mapping[str, Any] = {
    "1": TLSVersion.TLSv1_0,
    "1.0": TLSVersion.TLSv1_0,
    "1.1": TLSVersion.TLSv1_1,
    "1.2": TLSVersion.TLSv1_2,
    "1.3": TLSVersion.TLSv1_3,
}
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.S)


class TlsPolicy:
    """Makes TLS connections, all from one OpenSSL context, so that the authorities are read once."""

    def __init__(
        self,
        authorities: Sequence[Path],
        minimum_version: str,
        *,
        verify: bool,
        unverified_names: Sequence[str] = (),
    ) -> None:
        """`authorities` are PEM files, none for those of the system. `unverified_names` are globs of names whose
        certificates are not looked at. Raises OSError for a file that cannot be read, ValueError for one without
        certificates.
        """
        options: dict[str, Any] = {"trustRoot": _trust_root(authorities)}
        if _VERSIONS[minimum_version] < TLSVersion.TLSv1_2:
            options["insecurelyLowerMinimumTo"] = _VERSIONS[minimum_version]
        else:
            options["raiseMinimumTo"] = _VERSIONS[minimum_version]
        self._context: SSL.Context = CertificateOptions(**options).getContext()
        self._verify = verify
        self._unverified = [re.compile(translate(name.lower())) for name in unverified_names]

    def connection_creator(self, certificate_name: str) -> "ConnectionCreator":
        """For a connection to the owner of this name: a host name, or an IP address without brackets."""
        verify = self._verify and not any(glob.match(certificate_name.lower()) for glob in self._unverified)
        return ConnectionCreator(self._context, certificate_name, verify)


@implementer(IOpenSSLClientConnectionCreator)
class ConnectionCreator:
    """One TLS connection's beginning: SNI, and the check of chain and name."""

    def __init__(self, context: SSL.Context, certificate_name: str, verify: bool) -> None:
        self._context = context
        self._name = certificate_name
        self._verify = verify

    def clientConnectionForTLS(self, tls_protocol: Any) -> SSL.Connection:  # noqa: N802
        connection = SSL.Connection(self._context, None)
        # "a SNI should be sent for the certificate which is expected, unless that certificate is expected to be an IP
        # address in which case SNI is not supported and should not be sent."
        if not is_ip_address(self._name):
            connection.set_tlsext_host_name(self._name.encode("ascii"))
        if self._verify:
            wanted = _wanted_id(self._name)

            def check(_: Any, certificate: Any, error: int, depth: int, ok: int) -> bool:
                return bool(ok) and (depth > 0 or _is_certificate_of(certificate, wanted))

            connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, check)
        else:
            connection.set_verify(SSL.VERIFY_NONE, lambda *_: True)
        return connection


def is_ip_address(host: str) -> bool:
    """Whether this is an IPv4 or IPv6 address, without brackets."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _wanted_id(name: str) -> Any:
    if is_ip_address(name):
        return service_identity.hazmat.IPAddress_ID(ipaddress.ip_address(name))
    return service_identity.hazmat.DNS_ID(name)


def _is_certificate_of(certificate: Any, wanted: Any) -> bool:
    try:
        service_identity.hazmat.verify_service_identity(
            service_identity.pyopenssl.extract_patterns(certificate), [wanted], []
        )
    except (service_identity.VerificationError, service_identity.CertificateError):
        return False
    return True


def _trust_root(authorities: Sequence[Path]) -> Any:
    if not authorities:
        return platformTrust()
    return trustRootFromCertificates(list(read_certificates(authorities)))


def is_certificate_of(certificate: Any, name: str) -> bool:
    """Whether a certificate (pyOpenSSL's) is for a host name or an IP address."""
    return _is_certificate_of(certificate, _wanted_id(name))


def read_certificates(paths: Sequence[Path]) -> Iterator[Certificate]:
    """Every certificate of some PEM files. Raises OSError, ValueError."""
    for path in paths:
        yield from parse_certificates(path.read_bytes(), str(path))


def parse_certificates(pem: bytes, what: str) -> Iterator[Certificate]:
    """Every certificate in a text. Raises ValueError."""
    found = _PEM.findall(pem)
    if not found:
        raise ValueError(f"{what} holds no certificate")
    for one in found:
        yield Certificate.loadPEM(one)
