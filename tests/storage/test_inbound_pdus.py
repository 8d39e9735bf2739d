"""PDUs that wait are there after a restart, in their order, each as each server sent it."""

from twisted.trial.unittest import SynchronousTestCase

from storage.inbound_pdus import InboundPdu, InboundPdusRepository, StagePdu, UnstagePdu
from tests.storage.storage_case import PostgresStorage, SqliteStorage, StorageMixin

FIRST = InboundPdu("a.example", "!r:x", "$1")
SECOND = InboundPdu("a.example", "!r:x", "$2")
OTHER = InboundPdu("b.example", "!r:x", "$1")


class InboundPdusTests(StorageMixin):
    def waiting(self) -> list[InboundPdu]:
        return self.read(lambda tx: InboundPdusRepository().get_all(tx, 10))

    def pdu(self, key: InboundPdu) -> bytes | None:
        return self.read(lambda tx: InboundPdusRepository().find_pdu(tx, key))

    def test_pdus_wait_in_their_order_until_they_are_worked_off(self) -> None:
        self.result(
            self.committer.commit(
                StagePdu(SECOND, b'{"n":2}', 5, 1),
                StagePdu(FIRST, b'{"n":1}', 5, 0),
                StagePdu(OTHER, b'{"n":"\xff"}', 4, 9),
            )
        )
        self.open()
        self.assertEqual(self.waiting(), [OTHER, FIRST, SECOND])
        self.assertEqual(self.pdu(OTHER), b'{"n":"\xff"}')
        # The same again changes nothing.
        self.result(self.committer.commit(StagePdu(FIRST, b"{}", 1, 0)))
        self.assertEqual(self.pdu(FIRST), b'{"n":1}')
        self.result(self.committer.commit(UnstagePdu(FIRST), UnstagePdu(FIRST)))
        self.assertEqual(self.waiting(), [OTHER, SECOND])
        self.assertIsNone(self.pdu(FIRST))


class SqliteInboundPdusTests(SqliteStorage, InboundPdusTests, SynchronousTestCase): ...


class PostgresInboundPdusTests(PostgresStorage, InboundPdusTests, SynchronousTestCase): ...
