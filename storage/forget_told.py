"""Forgets what is kept only so that other sites hear of it, once all of them have.

A peer has heard of a position of this site's log when it has acknowledged it. What it sent before it did, and may
contradict what it heard, is here once this site has taken in its log up to where that stood at the acknowledgement.
From then on nobody can bring back what the record speaks of:

- that an event is to be passed on (`forward`): the entry of the log is there, and a repeat would only be sent again;
- that a server passed over an event, or has it now (`federation_overlooked`): the same;
- that media were deleted (`deleted_media`): a look at them on the other side of a cut has arrived, if there was one.
"""

from collections.abc import Sequence
from typing import ClassVar, Final, Self

import orjson

from storage.change import Change
from storage.database import IN_LIST_LIMIT, Transaction, WriteTransaction
from storage.forwarded_events import ForwardEvent
from storage.media_use import DeleteUnusedMedia
from storage.overlooked_events import OVERLOOKED
from storage.replication.record_index import RecordIndex
from synapse_like_config.lazy_dataclasses import dataclass

AT_ONCE: Final = 5_000
"""Deleted media that are looked at in one run."""


@dataclass(frozen=True, slots=True)
class ForgetTold(Change):
    """To be written every now and then. `peers`: the names of all other sites that store anything."""

    kind: ClassVar[str] = "forget_told"
    area: ClassVar[str] = "site_links"
    logged: ClassVar[bool] = False

    peers: tuple[str, ...]

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> None:
        for _, change in changes:
            bound = find_told(tx, change.peers)
            if bound > 0:
                kinds = tuple(tx.name_ids((ForwardEvent.kind, OVERLOOKED)).values())
                tx.run("DELETE FROM records WHERE kind IN (??) AND position <= ?", (kinds, bound))
                _forget_deleted_media(tx, bound)


def find_told(tx: Transaction, peers: Sequence[str]) -> int:
    """The position of this site's log up to which all peers have heard everything, and nothing contradicts it.

    0 if one of them was never heard of.
    """
    return min((_told_to(tx, peer) for peer in peers), default=0)


def _told_to(tx: Transaction, peer: str) -> int:
    log = tx.value("SELECT log FROM peer_logs WHERE site = ? AND is_current = 1", (tx.name_id(peer),))
    knew = tx.value(
        "SELECT MAX(k.knew) FROM site_knowledge k JOIN site_cursors c ON c.log = k.log"
        " WHERE k.log = ? AND k.their_position <= c.position",
        (log,),
    )
    return knew or 0


def _forget_deleted_media(tx: WriteTransaction, bound: int) -> None:
    deleted = [row[0] for row in tx.all("SELECT media_id FROM deleted_media LIMIT ?", (AT_ONCE,))]
    kind = tx.name_id(DeleteUnusedMedia.kind)
    for at in range(0, len(deleted), IN_LIST_LIMIT):
        keys = [orjson.dumps((media_id,)) for media_id in deleted[at : at + IN_LIST_LIMIT]]
        told = tx.all(
            "SELECT record_key FROM records WHERE kind = ? AND position <= ? AND record_key IN (??)",
            (kind, bound, keys),
        )
        media_ids = [orjson.loads(row[0])[0] for row in told]
        tx.many("DELETE FROM deleted_media WHERE media_id = ?", [(media_id,) for media_id in media_ids])
        RecordIndex().forget(tx, DeleteUnusedMedia.kind, [(media_id,) for media_id in media_ids])
