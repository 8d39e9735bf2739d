"""Signatures of sites under the key document: a site may sign anew, when it has heard of another site's key."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from storage.change import Change
from storage.database import Transaction
from storage.replication.kinds.last_writer import LastWriterKind
from storage.replication.record import Key
from storage.site_key_signatures import SiteKeySignaturesRepository, StoreKeySignature


def _read(tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
    found = {key: SiteKeySignaturesRepository().find(tx, int(key[0]), key[1]) for key in keys}
    return {key: signature for key, signature in found.items() if signature is not None}


def _write(tx: Transaction, key: Key, value: Any) -> Sequence[Change]:
    # What the other site has forgotten is forgotten here in its own time.
    return () if value is None else (StoreKeySignature(int(key[0]), key[1], value),)


KEY_SIGNATURES: Final = LastWriterKind(StoreKeySignature.kind, _read, _write, is_of_user=False)
