"""Transaction IDs, where memory does not know what the database does."""

from twisted.internet.defer import Deferred

from federation.rooms.draft import TransactionKey
from popcube_server.services.requester import Requester
from popcube_server.services.rooms.transactions import Transactions
from storage.transactions import RecordTransaction, TransactionsRepository
from tests.popcube_server.server_case import ONE, ServerTestCase

ALICE = Requester("@alice:one.example", "DEVICE", "session")


class TransactionsTests(ServerTestCase):
    def test_what_another_process_did_is_not_done_again(self) -> None:
        here, there = self._transactions(), self._transactions()
        # Both have read what there is of the device before either does something.
        self._once(here, "first", "$a")
        self._once(there, "second", "$b")
        self.assertEqual(self._once(there, "third", "$c"), "$c")
        self.assertEqual(self._once(here, "third", "$d"), "$c")

    def _transactions(self) -> Transactions:
        core = self.organisations[ONE].core
        return Transactions(core.database, TransactionsRepository(), core.committer, core.platform, core.log)

    def _once(self, transactions: Transactions, txn_id: str, event_id: str) -> str:
        async def work(key: TransactionKey) -> str:
            record = RecordTransaction(key.scope, key.request, event_id, 0)
            await self.organisations[ONE].core.committer.commit(record)
            return event_id

        return self.successResultOf(Deferred.fromCoroutine(transactions.once(ALICE, ("send",), txn_id, work)))
