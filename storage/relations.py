"""Events that refer to others (m.relates_to), by what they refer to."""

from storage.database import Transaction


class RelationsRepository:
    """Reads relations. Children that were redacted are left out."""

    def has_annotation(self, tx: Transaction, parent: str, sender: str, key: str) -> bool:
        """Whether the user has annotated an event with this key."""
        ids = tx.name_ids((sender, "m.annotation"))
        if len(ids) < 2:
            return False
        row = tx.one(
            "SELECT 1 FROM relations r JOIN events e ON e.nid = r.child"
            " WHERE r.parent = ? AND r.rel_type = ? AND r.sender = ? AND r.annotation = ? AND e.redacted_by IS NULL",
            (parent, ids["m.annotation"], ids[sender], key.encode()),
        )
        return row is not None
