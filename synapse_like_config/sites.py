"""Several datacenters that serve one organisation together. Without this section there is one."""

import re
from pathlib import Path

from synapse_like_config import options
from synapse_like_config.errors import WrongValue
from synapse_like_config.keys import decode_key
from synapse_like_config.lazy_dataclasses import dataclass
from synapse_like_config.parsers import parse_string, parse_url
from synapse_like_config.values import Value

_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")


@dataclass(frozen=True)
class SiteVerifyKey:
    """The public half of the key with which a site signs events and requests."""

    key_id: str
    key: bytes


def _parse_name(value: Value) -> str:
    name = parse_string(value)
    if not _NAME.fullmatch(name):
        raise WrongValue("must be a short name of lower-case letters, digits and underscores")
    return name


def _parse_verify_key(value: Value) -> SiteVerifyKey:
    key_id, _, key = parse_string(value).partition(" ")
    if not re.fullmatch(r"ed25519:[A-Za-z0-9_]+", key_id):
        raise WrongValue("must look like `ed25519:id KEY`, as `popcube-server site init` prints it")
    return SiteVerifyKey(key_id, decode_key(key.strip(), "the verify key"))


def _parse_peer_url(value: Value) -> str:
    url = parse_url(value).rstrip("/")
    if not url.startswith("https://"):
        raise WrongValue("must begin with https://: sites talk to each other over TLS only")
    return url


@dataclass(frozen=True)
class SitePeer:
    """Another site. Its certificate, or the authority that signs it, is PEM: as text or in a file."""

    name: str = options.custom("", _parse_name)
    url: str = options.custom("", _parse_peer_url)
    verify_key: SiteVerifyKey = options.custom(SiteVerifyKey("", b""), _parse_verify_key)
    certificate: str | None = options.optional_string()
    certificate_path: Path | None = options.optional_path()
    witness: bool = options.boolean(False)

    def check(self) -> None:
        for option, value in (
            ("name", self.name),
            ("url", self.url),
            ("verify_key", self.verify_key.key_id),
            ("certificate", self.certificate or self.certificate_path),
        ):
            if not value:
                raise WrongValue(f"a peer site needs `{option}`", option)

    def read_certificate(self) -> bytes:
        """PEM. Raises OSError."""
        if self.certificate is not None:
            return self.certificate.encode()
        assert self.certificate_path is not None
        return self.certificate_path.read_bytes()

    def read_certificate_if_there(self) -> bytes | None:
        try:
            return self.read_certificate()
        except OSError:
            return None


@dataclass(frozen=True)
class SitesConfig:
    """This site and its peers.

    `fall_back_after` is how long a write waits for a peer with `durability: site`; `copies_path` is where copies for
    new sites are written (beside the media if it is not given). A `witness` has no rooms and no users: it only votes.
    `duties_preferred` names the site that sends to other servers where two are alone and cannot vote; `duties_term` is
    how long a vote counts, and must be the same on all sites.
    """

    name: str = options.custom("", _parse_name)
    bind_addresses: tuple[str, ...] = options.string_or_strings()
    port: int = options.integer(8449, 0, 65535)
    certificate_path: Path | None = options.optional_path()
    private_key_path: Path | None = options.optional_path()
    copies_path: Path | None = options.optional_path()
    durability: str = options.choice("local", ("local", "site"))
    fall_back_after_ms: int = options.duration_ms("5s", 10)
    witness: bool = options.boolean(False)
    duties_preferred: str | None = options.optional_string()
    duties_term_ms: int = options.duration_ms("10s", 1000)
    peers: tuple[SitePeer, ...] = options.sections(SitePeer)

    def check(self) -> None:
        if not self.name:
            raise WrongValue("a site needs a name", "name")
        for option, path in (
            ("certificate_path", self.certificate_path),
            ("private_key_path", self.private_key_path),
        ):
            if path is None:
                raise WrongValue("must be set: sites prove to each other who they are", option)
        names = [self.name, *(peer.name for peer in self.peers)]
        if len(set(names)) < len(names):
            raise WrongValue("two sites have the same name", "peers")
        key_ids = [peer.verify_key.key_id for peer in self.peers]
        if len(set(key_ids)) < len(key_ids):
            raise WrongValue("two sites have keys with the same ID", "peers")

        if self.duties_preferred is not None and self.duties_preferred not in self.data_sites:
            raise WrongValue("must be this site or one of its peers, and no witness", "duties_preferred")

    def read_certificate_if_there(self) -> bytes | None:
        """This site's own, PEM."""
        try:
            return None if self.certificate_path is None else self.certificate_path.read_bytes()
        except OSError:
            return None

    @property
    def voters(self) -> frozenset[str]:
        """All sites that have a vote on duties: this one, its peers, witnesses among them."""
        return frozenset((self.name, *(peer.name for peer in self.peers)))

    @property
    def data_sites(self) -> tuple[str, ...]:
        """All sites of the organisation, this one among them; without witnesses. In alphabetical order."""
        names = [peer.name for peer in self.peers if not peer.witness]
        return tuple(sorted(names if self.witness else [self.name, *names]))

    @property
    def preferred(self) -> str:
        """The site that has all duties where sites cannot vote and nothing was decided."""
        return self.duties_preferred or (*self.data_sites, self.name)[0]

    @property
    def addresses(self) -> tuple[str, ...]:
        """The local addresses to bind; all of IPv4 and IPv6 when the file names none."""
        return self.bind_addresses or ("::", "0.0.0.0")  # noqa: S104
