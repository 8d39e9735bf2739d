"""This server's own keys, as it publishes them and as it uses them to check its own signatures."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from federation.keys.server_keys import VerifyKey
from federation.room_dag.base64 import encode_base64
from federation.room_dag.canonical_json import MAX_INTEGER
from federation.room_dag.signing import EventSigner, InvalidSignature, json_signed_bytes, verify_bytes
from synapse_like_config.keys import OldSigningKey

_HOUR_MS = 3600 * 1000


class SiteSignatures(Protocol):
    """What other sites have signed (`CoSignatures`)."""

    @property
    def version(self) -> int:
        """Another one whenever there is more to find."""

    def find(self, valid_until: int, key_id: str) -> str | None: ...


class OtherKeys(Protocol):
    """The keys of the organisation's other sites (`SiteKeys`)."""

    @property
    def version(self) -> int:
        """Another one whenever they are others."""

    def present(self) -> Mapping[str, bytes]:
        """By ID, the public keys with which they sign."""

    def old(self) -> Sequence[OldSigningKey]:
        """Those of sites that are none any more."""


class OneSite:
    """`OtherKeys` of an organisation on one site."""

    version = 0

    def present(self) -> Mapping[str, bytes]:
        return {}

    def old(self) -> Sequence[OldSigningKey]:
        return ()


class OwnKeys:
    """The first signer signs requests and events; every one is published and signs the document.

    To change a key, put the new one first and keep the other one behind it for a while; then move it to
    `old_signing_keys`, with the time.
    """

    def __init__(
        self,
        signers: Sequence[EventSigner],
        old_keys: Sequence[OldSigningKey],
        refresh_interval_ms: int,
        now_ms: Callable[[], int],
        sites: OtherKeys | None = None,
        site_signatures: SiteSignatures | None = None,
    ) -> None:
        """What the file says of an old key counts more than what is known of it otherwise."""
        self._site_signatures = site_signatures
        self.server_name = signers[0].server_name
        self._signers = tuple(signers)
        self._own_old_keys = tuple(old_keys)
        # The specification: "Originating servers should avoid returning responses that expire in less than an hour".
        self._period_ms = max(refresh_interval_ms, _HOUR_MS)
        self._now_ms = now_ms
        self._document: Mapping[str, Any] = {}
        self._document_of = (0, 0)
        self._sites: OtherKeys = sites or OneSite()
        self._gather()

    def _gather(self) -> None:
        self._sites_version = self._sites.version
        current = {signer.key_id for signer in self._signers}
        self._site_keys = {
            key_id: key for key_id, key in self._sites.present().items() if key_id not in current
        }
        current |= self._site_keys.keys()
        old = {key.key_id: key for key in (*self._sites.old(), *self._own_old_keys)}
        self._old_keys = tuple(key for key in old.values() if key.key_id not in current)
        self._keys = {
            signer.key_id: VerifyKey(signer.key_id, signer.verify_key, MAX_INTEGER, False)
            for signer in self._signers
        }
        self._keys.update(
            (key_id, VerifyKey(key_id, key, MAX_INTEGER, False)) for key_id, key in self._site_keys.items()
        )
        self._keys.update(
            (old.key_id, VerifyKey(old.key_id, old.verify_key, old.expired_ts, True))
            for old in self._old_keys
        )

    def _look_at_sites(self) -> None:
        if self._sites.version != self._sites_version:
            self._gather()

    def document(self) -> Mapping[str, Any]:
        """What others learn: JSON, signed. The same for a whole period, which begins at the same time everywhere.

        Several machines with the same keys so publish the same document without asking each other.
        """
        (valid_until_ts,) = self.next_ends(1)
        signatures = 0 if self._site_signatures is None else self._site_signatures.version
        version = (signatures, self._sites.version)
        if self._document.get("valid_until_ts") != valid_until_ts or version != self._document_of:
            self._document, self._document_of = self._build(valid_until_ts), version
        return self._document

    def next_ends(self, count: int) -> Sequence[int]:
        """The ends of validity of this period's document and the next ones', milliseconds since 1970."""
        present = self._now_ms() // self._period_ms
        return [(present + 2 + later) * self._period_ms for later in range(count)]

    def own_signatures(self, valid_until_ts: int) -> Mapping[str, str]:
        """By key ID, what this site signs of a document."""
        message = json_signed_bytes(self._unsigned(valid_until_ts))
        return {signer.key_id: signer.sign_bytes(message) for signer in self._signers}

    def all_keys(self) -> Mapping[str, VerifyKey]:
        """Our own keys by ID. One in use is valid at all times."""
        self._look_at_sites()
        return self._keys

    def sign(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Another server's document with our signature added, as a notary gives it."""
        return self._signers[0].sign_json(document)

    def _build(self, valid_until_ts: int) -> Mapping[str, Any]:
        document = self._unsigned(valid_until_ts)
        signatures = {**self._signatures_of_sites(document), **self.own_signatures(valid_until_ts)}
        # Every site gives the members in the same order: the documents are equal as bytes.
        return {**document, "signatures": {self.server_name: dict(sorted(signatures.items()))}}

    def _unsigned(self, valid_until_ts: int) -> Mapping[str, Any]:
        self._look_at_sites()
        keys = {signer.key_id: signer.verify_key for signer in self._signers} | self._site_keys
        return {
            "server_name": self.server_name,
            "valid_until_ts": valid_until_ts,
            "verify_keys": {key_id: {"key": encode_base64(key)} for key_id, key in sorted(keys.items())},
            "old_verify_keys": {
                old.key_id: {"key": encode_base64(old.verify_key), "expired_ts": old.expired_ts}
                for old in sorted(self._old_keys, key=lambda old: old.key_id)
            },
        }

    def _signatures_of_sites(self, document: Mapping[str, Any]) -> Mapping[str, str]:
        if self._site_signatures is None:
            return {}
        message = json_signed_bytes(document)
        found = {}
        for key_id, key in self._site_keys.items():
            signature = self._site_signatures.find(document["valid_until_ts"], key_id)
            # A site whose configuration names other keys than this one's has signed another document.
            if signature is not None and _is_good(message, signature, key):
                found[key_id] = signature
        return found


def _is_good(message: bytes, signature: str, key: bytes) -> bool:
    try:
        verify_bytes(message, signature, key)
    except InvalidSignature:
        return False
    return True
