"""The one transaction that each destination may have under way."""

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred

from federation.sending.batch import Batch
from federation.sending.destination_queue import Clock
from federation.sending.edus import transaction_body
from federation.sending.sending_tools import SendTransaction
from federation.sending.tenure import Tenure


class UnderWay:
    """Owns them, and can break them off."""

    def __init__(self, server_name: str, transactions: SendTransaction, clock: Clock, tenure: Tenure) -> None:
        self._server_name = server_name
        self._transactions = transactions
        self._clock = clock
        self._tenure = tenure
        self._under_way: dict[str, Deferred[Mapping[str, Any]]] = {}

    async def send(self, destination: str, batch: Batch) -> Mapping[str, Any]:
        """The answer. Raises `FederationError`, and `CancelledError` if it was broken off."""
        txn_id = self._tenure.new_transaction_id()
        now_ms = int(self._clock.seconds() * 1000)
        body = transaction_body(self._server_name, now_ms, batch.pdus, batch.edus)
        sending = Deferred.fromCoroutine(self._transactions.send(destination, txn_id, body))
        self._under_way[destination] = sending
        try:
            return await sending
        finally:
            del self._under_way[destination]

    def break_off(self) -> None:
        """All of them."""
        for sending in tuple(self._under_way.values()):
            sending.cancel()
