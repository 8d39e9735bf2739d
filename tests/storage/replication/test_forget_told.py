"""What is kept only so that all sites hear of it goes when they have."""

from twisted.trial.unittest import SynchronousTestCase

from storage.forget_told import ForgetTold, find_told
from storage.forwarded_events import ForwardEvent
from storage.media import ContentRecord, StoreMedia
from storage.media_use import DeleteUnusedMedia
from storage.merge_media import find_media_state
from storage.overlooked_events import OVERLOOKED, NoteOverlooked, OverlookedEventsRepository
from storage.replication.own_site import SeePeerLog
from storage.site_links import MoveSiteCursor, NotePeerKnows
from tests.storage.replication.sites_case import SitesMixin, StoredSite
from tests.storage.storage_case import PostgresStorage, SqliteStorage

CONTENT = ContentRecord(1_000, "text/plain", "a", 5, b"x" * 32, "f" * 32, True)
PEERS = ("berta", "carla")


class ForgetToldTests(SitesMixin):
    def setUp(self) -> None:
        super().setUp()
        self.anna.commit(ForwardEvent("!room:one.example", "$event"))
        self.anna.commit(StoreMedia("m", "@alice:one.example", CONTENT, ()))
        self.anna.commit(DeleteUnusedMedia("m", 2_000))
        self.end = self.anna.log.position

    def hear_of(self, peer: str, knew: int, stood_at: int, taken_in: int) -> None:
        """The peer has acknowledged `knew` when its log stood at `stood_at`, of which `taken_in` is here."""
        log = f"{peer} log"
        self.anna.commit(
            SeePeerLog(peer, log), NotePeerKnows(log, stood_at, knew), MoveSiteCursor(log, taken_in, 0)
        )

    def kept(self, site: StoredSite | None = None) -> tuple[bool, bool]:
        """Whether it is still known that the event is to be passed on, and that the media were deleted."""
        at = site or self.anna
        kinds = {kind for kind, _ in at.all_values()}
        state = at.read(lambda tx: find_media_state(tx, "m"))
        return ("forward" in kinds, state is not None and state.deleted_before_ms is not None)

    def test_while_one_peer_was_never_heard_of_nothing_is_forgotten(self) -> None:
        self.hear_of("berta", self.end, 10, 10)
        self.anna.commit(ForgetTold(PEERS))
        self.assertEqual(self.kept(), (True, True))  # type: ignore[attr-defined]

    def test_while_one_peer_has_not_heard_it_is_kept(self) -> None:
        self.hear_of("berta", self.end, 10, 10)
        self.hear_of("carla", self.end - 1, 10, 10)
        self.anna.commit(ForgetTold(PEERS))
        # The event comes first, and all have heard of that.
        self.assertEqual(self.kept(), (False, True))  # type: ignore[attr-defined]

    def test_while_something_may_come_that_was_sent_before_it_was_heard_it_is_kept(self) -> None:
        self.hear_of("berta", self.end, 10, 9)
        self.hear_of("carla", self.end, 10, 10)
        self.anna.commit(ForgetTold(PEERS))
        self.assertEqual(self.kept(), (True, True))  # type: ignore[attr-defined]

    def test_that_an_event_was_passed_over_is_kept_and_told_to_nobody_any_more(self) -> None:
        self.anna.commit(NoteOverlooked("far.example", ("$event",)))
        for peer in PEERS:
            self.hear_of(peer, self.anna.log.position, 10, 10)
        self.assertIn(OVERLOOKED, {kind for kind, _ in self.anna.all_values()})
        self.anna.commit(ForgetTold(PEERS))
        self.assertNotIn(OVERLOOKED, {kind for kind, _ in self.anna.all_values()})
        is_noted = self.anna.read(
            lambda tx: OverlookedEventsRepository().is_noted(tx, "far.example", "$event")
        )
        self.assertTrue(is_noted)  # type: ignore[attr-defined]

    def test_of_a_site_that_was_rebuilt_what_its_old_log_knew_does_not_count(self) -> None:
        for peer in PEERS:
            self.hear_of(peer, self.end, 10, 10)
        self.anna.commit(SeePeerLog("berta", "another log"))
        self.assertEqual(self.anna.read(lambda tx: find_told(tx, PEERS)), 0)  # type: ignore[attr-defined]

    def test_when_all_have_heard_it_goes_and_nothing_comes_back(self) -> None:
        self.berta.hear(self.anna)
        for peer in PEERS:
            self.hear_of(peer, self.end, 10, 10)
        self.anna.commit(ForgetTold(PEERS))
        self.assertEqual(self.kept(), (False, False))  # type: ignore[attr-defined]
        rows = self.anna.read(lambda tx: tx.value("SELECT COUNT(*) FROM records"))
        self.assertEqual(rows, 0)  # type: ignore[attr-defined]
        # The other site still knows, and tells it once more when it is rebuilt: that changes nothing.
        self.assertEqual(self.kept(self.berta), (True, True))  # type: ignore[attr-defined]
        self.anna.hear(self.berta)
        self.assertIsNone(self.anna.read(lambda tx: tx.one("SELECT 1 FROM media")))  # type: ignore[attr-defined]


class SqliteForgetToldTests(SqliteStorage, ForgetToldTests, SynchronousTestCase): ...


class PostgresForgetToldTests(PostgresStorage, ForgetToldTests, SynchronousTestCase): ...
