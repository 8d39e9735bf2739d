"""The index of people: what is found by which beginnings, and who sees whom."""

from twisted.trial.unittest import SynchronousTestCase

from storage.user_directory import DirectorySearch, IndexUser, SetOpenRoom, UserDirectoryRepository
from tests.storage.storage_case import PostgresStorage, SqliteStorage, StorageMixin

ALICE, BOB, CAROL = "@alice:x", "@bob:x", "@carol:x"


class UserDirectoryTests(StorageMixin):
    def setUp(self) -> None:
        super().setUp()
        self.index(BOB, "bob", "builder")
        self.index(CAROL, "carol", "bobtail")

    def index(self, user_id: str, *words: str, is_locked: bool = False) -> None:
        self.result(self.committer.commit(IndexUser(user_id, frozenset(words), is_locked)))

    def given_member(self, user_id: str, room_id: str) -> None:
        def write(tx):  # type: ignore[no-untyped-def]
            ids = tx.intern((user_id, room_id))
            sql = (
                "INSERT INTO memberships (room, user_nid, membership, event, position, forgotten)"
                " VALUES (?, ?, ?, ?, ?, ?)"
            )
            tx.run(sql, (ids[room_id], ids[user_id], 1, 1, 1, 0))

        self.database.write_now(write)

    def all(self, *words: str, limit: int = 10, with_locked: bool = False) -> list[str]:
        search = DirectorySearch(ALICE, words, limit, with_locked)
        found = self.read(lambda tx: UserDirectoryRepository().search_all(tx, search))
        return [one.user_id for one in found]

    def visible(self, *words: str) -> list[str]:
        search = DirectorySearch(ALICE, words, 10, with_locked=False)
        found = self.read(lambda tx: UserDirectoryRepository().search_visible(tx, search))
        return [one.user_id for one in found]

    def test_every_word_must_begin_one_of_the_users(self) -> None:
        self.assertEqual(self.all("bo"), [BOB, CAROL])
        self.assertEqual(self.all("bo", limit=1), [BOB])
        self.assertEqual(self.all("bo", "bui"), [BOB])
        self.assertEqual(self.all("ob"), [])

    def test_later_words_replace_the_earlier_and_none_remove_the_user(self) -> None:
        self.index(BOB, "robert")
        self.assertEqual((self.all("bob"), self.all("rob")), ([CAROL], [BOB]))
        self.index(BOB)
        self.assertEqual(self.all("rob"), [])

    def test_locked_users_are_found_only_if_wanted(self) -> None:
        self.index(BOB, "bob", is_locked=True)
        self.assertEqual(self.all("bob"), [CAROL])
        self.assertEqual(self.all("bob", with_locked=True), [BOB, CAROL])

    def test_visible_are_those_in_shared_and_in_open_rooms(self) -> None:
        for user_id, room_id in ((ALICE, "!shared"), (BOB, "!shared"), (CAROL, "!other")):
            self.given_member(user_id, room_id)
        self.assertEqual(self.visible("bob"), [BOB])
        self.result(self.committer.commit(SetOpenRoom("!other", True), SetOpenRoom("!other", True)))
        self.assertEqual(self.visible("bob"), [BOB, CAROL])
        self.result(self.committer.commit(SetOpenRoom("!other", False)))
        self.assertEqual(self.visible("bob"), [BOB])


class SqliteUserDirectoryTests(SqliteStorage, UserDirectoryTests, SynchronousTestCase): ...


class PostgresUserDirectoryTests(PostgresStorage, UserDirectoryTests, SynchronousTestCase): ...
