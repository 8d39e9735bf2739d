"""This server's own keys, as it publishes them and as it uses them to check its own signatures."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from federation.keys.server_keys import VerifyKey
from federation.room_dag.base64 import encode_base64
from federation.room_dag.canonical_json import MAX_INTEGER
from federation.room_dag.signing import EventSigner
from synapse_like_config.keys import OldSigningKey

_HOUR_MS = 3600 * 1000


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
        site_keys: Mapping[str, bytes] | None = None,
    ) -> None:
        """`site_keys` are the public keys, by ID, with which the other sites of the organisation sign."""
        self.server_name = signers[0].server_name
        self._signers = tuple(signers)
        current = {signer.key_id for signer in signers}
        self._site_keys = {key_id: key for key_id, key in (site_keys or {}).items() if key_id not in current}
        current |= self._site_keys.keys()
        self._old_keys = tuple(key for key in old_keys if key.key_id not in current)
        # The specification: "Originating servers should avoid returning responses that expire in less than an hour".
        self._period_ms = max(refresh_interval_ms, _HOUR_MS)
        self._now_ms = now_ms
        self._document: Mapping[str, Any] = {}
        self._keys = {
            signer.key_id: VerifyKey(signer.key_id, signer.verify_key, MAX_INTEGER, False)
            for signer in signers
        }
        self._keys.update(
            (key_id, VerifyKey(key_id, key, MAX_INTEGER, False)) for key_id, key in self._site_keys.items()
        )
        self._keys.update(
            (old.key_id, VerifyKey(old.key_id, old.verify_key, old.expired_ts, True))
            for old in self._old_keys
        )

    def document(self) -> Mapping[str, Any]:
        """What others learn: JSON, signed. The same for a whole period, which begins at the same time everywhere.

        Several machines with the same keys so publish the same document without asking each other.
        """
        valid_until_ts = (self._now_ms() // self._period_ms + 2) * self._period_ms
        if self._document.get("valid_until_ts") != valid_until_ts:
            self._document = self._build(valid_until_ts)
        return self._document

    def all_keys(self) -> Mapping[str, VerifyKey]:
        """Our own keys by ID. One in use is valid at all times."""
        return self._keys

    def sign(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Another server's document with our signature added, as a notary gives it."""
        return self._signers[0].sign_json(document)

    def _build(self, valid_until_ts: int) -> Mapping[str, Any]:
        document: dict[str, Any] = {
            "server_name": self.server_name,
            "valid_until_ts": valid_until_ts,
            "verify_keys": {
                **{signer.key_id: {"key": signer.verify_key_base64} for signer in self._signers},
                **{key_id: {"key": encode_base64(key)} for key_id, key in self._site_keys.items()},
            },
            "old_verify_keys": {
                old.key_id: {"key": encode_base64(old.verify_key), "expired_ts": old.expired_ts}
                for old in self._old_keys
            },
        }
        for signer in self._signers:
            document = signer.sign_json(document)
        return document
