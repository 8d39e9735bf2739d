"""Specification module transactions."""

from popcube_server.rest.endpoint import Access, Answer, Call, endpoint
from popcube_server.services.federation.receive_transaction import ReceiveTransaction


class Transactions:
    def __init__(self, receive: ReceiveTransaction) -> None:
        self._receive = receive

    @endpoint("PUT", "/_matrix/federation/v1/send/{txn_id}", Access.SERVER)
    async def send(self, call: Call) -> Answer:
        return Answer(await self._receive.receive(call.origin, call.path["txn_id"], call.body))
