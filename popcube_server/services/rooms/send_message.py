"""Send an event that is no state, or redact one. Source: client-server API, room_send and redaction."""

from collections.abc import Mapping
from typing import Any

from federation.rooms.draft import Draft, TransactionKey
from federation.rooms.relation import ANNOTATION, find_relation
from popcube_server.services.errors import BadJson, WithCode
from popcube_server.services.rate_limits import RateLimiter
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.append import RoomWriter
from popcube_server.services.rooms.redaction_permission import RedactionPermission
from popcube_server.services.rooms.suspensions import Suspensions
from popcube_server.services.rooms.transactions import Transactions
from storage.database import Database
from storage.relations import RelationsRepository

REDACTION = "m.room.redaction"


class Annotations:
    """Keeps a user from reacting twice with the same key."""

    def __init__(self, database: Database, repository: RelationsRepository) -> None:
        self._database = database
        self._repository = repository

    async def check(self, user_id: str, content: Mapping[str, Any]) -> None:
        """Raises M_DUPLICATE_ANNOTATION."""
        relation = find_relation(content)
        if relation is None or relation.rel_type != ANNOTATION or relation.annotation is None:
            return
        parent, key = relation.parent, relation.annotation
        if await self._database.read(lambda tx: self._repository.has_annotation(tx, parent, user_id, key)):
            raise WithCode(400, "M_DUPLICATE_ANNOTATION", "You have reacted with this already.")


class SendMessage:
    """A message of any type; a redaction is one too."""

    def __init__(
        self,
        writer: RoomWriter,
        transactions: Transactions,
        annotations: Annotations,
        redactions: RedactionPermission,
        suspensions: Suspensions,
        limiter: RateLimiter,
    ) -> None:
        self._writer = writer
        self._transactions = transactions
        self._annotations = annotations
        self._redactions = redactions
        self._suspensions = suspensions
        self._limiter = limiter

    async def send(
        self, requester: Requester, room_id: str, event_type: str, txn_id: str, content: Mapping[str, Any]
    ) -> str:
        """The event's ID; that of the first one if the transaction was done before."""

        async def work(transaction: TransactionKey) -> str:
            self._limiter.spend(requester.user_id)
            if event_type == REDACTION:
                # v1.18: clients may send redactions like messages; `redacts` goes where the room version wants it.
                own = {key: value for key, value in content.items() if key != "redacts"}
                return await self._redact(requester, room_id, _redacts(content), own, transaction)
            await self._suspensions.check_not_suspended(requester.user_id)
            await self._annotations.check(requester.user_id, content)
            draft = Draft(room_id, event_type, requester.user_id, None, content)
            return (await self._writer.append(draft, transaction)).event_id

        return await self._transactions.once(requester, ("send", room_id, event_type), txn_id, work)

    async def redact(
        self, requester: Requester, room_id: str, event_id: str, txn_id: str, content: Mapping[str, Any]
    ) -> str:
        """The redaction's ID. Own events may always be redacted, others with the room's redact level."""

        async def work(transaction: TransactionKey) -> str:
            self._limiter.spend(requester.user_id)
            return await self._redact(requester, room_id, event_id, content, transaction)

        return await self._transactions.once(requester, ("redact", room_id, event_id), txn_id, work)

    async def _redact(
        self,
        requester: Requester,
        room_id: str,
        event_id: str,
        content: Mapping[str, Any],
        transaction: TransactionKey,
    ) -> str:
        # A suspended user may still take back what is their own.
        if not await self._redactions.is_own(requester.user_id, event_id):
            await self._suspensions.check_not_suspended(requester.user_id)
        await self._redactions.check(requester.user_id, room_id, event_id)
        draft = Draft(room_id, REDACTION, requester.user_id, None, content, event_id)
        return (await self._writer.append(draft, transaction)).event_id


def _redacts(content: Mapping[str, Any]) -> str:
    redacts = content.get("redacts")
    if not isinstance(redacts, str):
        raise BadJson("A redaction needs the ID of an event in 'redacts'.")
    return redacts
