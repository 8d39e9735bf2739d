"""What is kept of other servers' keys, and of servers that do not answer."""

from twisted.trial.unittest import SynchronousTestCase

from storage.destinations import (
    DestinationBack,
    DestinationFailed,
    DestinationsRepository,
    FailingDestination,
    ForgetDestinations,
)
from storage.server_keys import MAX_KEYS_OF_SERVER, ServerKeyRow, ServerKeysRepository, StoreServerKeys
from tests.storage.storage_case import PostgresStorage, SqliteStorage, StorageMixin

SERVER = "far.example"


def key(name: str, valid_until_ms: int, *, is_old: bool = False, fill: bytes = b"k") -> ServerKeyRow:
    return ServerKeyRow(f"ed25519:{name}", fill * 32, valid_until_ms, is_old)


def document(*keys: ServerKeyRow, at: int = 100, until: int = 1000, direct: bool = True) -> StoreServerKeys:
    text = repr([(row.key_id, until) for row in keys]).encode()
    return StoreServerKeys(SERVER, text, at, until, keys, direct)


class ServerKeysTests(StorageMixin):
    def setUp(self) -> None:
        super().setUp()
        self.repository = ServerKeysRepository()

    def store(self, *changes: StoreServerKeys) -> None:
        self.result(self.committer.commit(*changes))

    def keys(self) -> dict[str, ServerKeyRow]:
        return {row.key_id: row for row in self.read(lambda tx: self.repository.get_of_server(tx, SERVER))}

    def test_stored_keys_are_there_after_a_restart(self) -> None:
        self.store(document(key("a", 1000), key("b", 50, is_old=True)))
        self.open()
        self.assertEqual(self.keys(), {"ed25519:a": key("a", 1000), "ed25519:b": key("b", 50, is_old=True)})

    def test_keys_of_one_server_are_not_those_of_another(self) -> None:
        self.store(document(key("a", 1000)))
        self.assertEqual(self.read(lambda tx: self.repository.get_of_server(tx, "else.example")), [])

    def test_the_server_itself_replaces_its_key(self) -> None:
        self.store(document(key("a", 1000)))
        self.store(document(key("a", 900, fill=b"n"), at=200, until=900))
        self.assertEqual(self.keys()["ed25519:a"], key("a", 900, fill=b"n"))

    def test_a_key_that_its_server_lists_no_more_ends(self) -> None:
        self.store(document(key("a", 1000)))
        self.store(document(key("b", 2000), at=200, until=2000))
        self.assertEqual(self.keys()["ed25519:a"], key("a", 200, is_old=True))

    def test_a_notary_with_older_news_only_adds_keys(self) -> None:
        self.store(document(key("a", 1000)))
        self.store(document(key("a", 500, fill=b"n"), key("c", 500), at=300, until=500, direct=False))
        self.assertEqual(self.keys(), {"ed25519:a": key("a", 1000), "ed25519:c": key("c", 500)})

    def test_a_notary_with_newer_news_extends_keys_and_ends_none(self) -> None:
        self.store(document(key("a", 1000), key("b", 1000)))
        self.store(document(key("a", 5000), at=300, until=5000, direct=False))
        self.assertEqual(self.keys(), {"ed25519:a": key("a", 5000), "ed25519:b": key("b", 1000)})

    def test_several_documents_in_one_commit_are_written_in_order(self) -> None:
        self.store(document(key("a", 1000)), document(key("b", 2000), at=200, until=2000))
        self.assertEqual(set(self.keys()), {"ed25519:a", "ed25519:b"})

    def test_documents_are_kept_as_long_as_a_key_comes_from_them(self) -> None:
        first = document(key("a", 1000), key("b", 1000))
        second = document(key("a", 2000), at=200, until=2000)
        third = document(key("a", 3000), key("b", 10, is_old=True), at=300, until=3000)
        self.store(first)
        self.store(second)
        rows = self.read(lambda tx: self.repository.get_documents(tx, SERVER))
        self.assertEqual(
            [(row.document, row.key_ids) for row in rows],
            [(second.document, {"ed25519:a"}), (first.document, {"ed25519:b"})],
        )
        self.store(third)
        rows = self.read(lambda tx: self.repository.get_documents(tx, SERVER))
        self.assertEqual([(row.document, row.fetched_at_ms) for row in rows], [(third.document, 300)])

    def test_a_server_cannot_fill_the_table(self) -> None:
        for number in range(4):
            keys = [key(f"{number}_{index}", 1000 + number * 100) for index in range(100)]
            self.store(document(*keys, at=number, until=1000 + number * 100, direct=False))
        kept = self.keys()
        self.assertEqual(len(kept), MAX_KEYS_OF_SERVER)
        self.assertIn("ed25519:3_0", kept)
        self.assertNotIn("ed25519:0_0", kept)


class SqliteServerKeysTests(SqliteStorage, ServerKeysTests, SynchronousTestCase):
    pass


class PostgresServerKeysTests(PostgresStorage, ServerKeysTests, SynchronousTestCase):
    pass


class DestinationsTests(StorageMixin):
    def setUp(self) -> None:
        super().setUp()
        self.repository = DestinationsRepository()

    def find(self, name: str) -> FailingDestination | None:
        return self.read(lambda tx: self.repository.find(tx, name))

    def test_the_newest_failure_counts(self) -> None:
        older, newer = FailingDestination(SERVER, 1, 2, 3), FailingDestination(SERVER, 1, 9, 6)
        self.result(self.committer.commit(DestinationFailed(older), DestinationFailed(newer)))
        self.open()
        self.assertEqual(self.find(SERVER), newer)
        self.assertIsNone(self.find("else.example"))

    def test_a_destination_that_is_back_has_no_row(self) -> None:
        self.result(self.committer.commit(DestinationFailed(FailingDestination(SERVER, 1, 2, 3))))
        self.result(self.committer.commit(DestinationBack(SERVER)))
        self.assertIsNone(self.find(SERVER))

    def test_those_that_are_due_come_first(self) -> None:
        rows = [
            FailingDestination(f"{name}.example", 1, at, 3) for name, at in (("a", 30), ("b", 10), ("c", 99))
        ]
        self.result(self.committer.commit(*map(DestinationFailed, rows)))
        self.assertEqual(self.read(lambda tx: self.repository.get_due(tx, 50, 10)), [rows[1], rows[0]])
        self.result(self.committer.commit(ForgetDestinations(20)))
        self.assertEqual(self.read(lambda tx: self.repository.get_due(tx, 50, 10)), [rows[0]])


class SqliteDestinationsTests(SqliteStorage, DestinationsTests, SynchronousTestCase):
    pass


class PostgresDestinationsTests(PostgresStorage, DestinationsTests, SynchronousTestCase):
    pass
