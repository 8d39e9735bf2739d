"""What sites tell each other of the duty of sending: how far it has come, who is behind, what was told of devices."""

import random

from twisted.trial.unittest import SynchronousTestCase

from storage.destinations_behind import DestinationsBehindRepository, FallBehind
from storage.device_list_updates import DeviceListUpdatesRepository, NoteDeviceChange
from storage.duties import Decision, DutiesRepository, Progress, SaveProgress, StoreDecision, TakeDutyOver
from storage.lags import KnownLag, LagsRepository, NoteLag
from storage.overlooked_events import ForgetOverlooked, NoteOverlooked, OverlookedEventsRepository
from storage.stripped_states import KeepStripped
from tests.storage.replication.sites_case import SitesMixin, StoredSite
from tests.storage.storage_case import PostgresStorage, SqliteStorage

DUTY = "federation"
ALICE = "@alice:one.example"
FAR = "far.example"
EVENTS = ("$one", "$two", "$three")


class DutyRecordsTests(SitesMixin):
    def progress(self, site: StoredSite) -> Progress | None:
        return site.read(lambda tx: DutiesRepository().find_progress(tx, DUTY))

    def lag(self, site: StoredSite) -> KnownLag | None:
        return site.read(lambda tx: LagsRepository().find(tx, FAR))

    def test_the_latest_lease_says_how_far_the_work_has_come(self) -> None:
        self.anna.commit(SaveProgress(DUTY, Progress(1, "anna", 50)))
        self.exchange(self.anna, self.berta)
        self.berta.commit(SaveProgress(DUTY, Progress(2, "berta", 20)))
        # It has not heard yet that another one has the duty.
        self.anna.commit(SaveProgress(DUTY, Progress(1, "anna", 60)))
        self.exchange(self.anna, self.berta)
        for site in (self.anna, self.berta):
            self.assertEqual(self.progress(site), Progress(2, "berta", 20))

    def test_progress_and_lags_come_to_the_same_in_any_order(self) -> None:
        for seed in range(10):
            chance = random.Random(seed)
            sites = [self.given_site(name) for name in ("x", "y", "z")]
            for _ in range(15):
                site = chance.choice(sites)
                epoch = chance.randrange(4) * len(sites) + sites.index(site)
                position = chance.randrange(100)
                site.now_ms += chance.randrange(5000)
                site.commit(SaveProgress(DUTY, Progress(epoch, site.name, position)))
                since = chance.choice((None, position))
                site.commit(NoteLag(KnownLag(FAR, epoch, site.name, since)))
                chance.choice(sites).hear(chance.choice([other for other in sites if other is not site]))
            self.exchange(*sites)
            self.exchange(*sites)
            self.assertEqual(len({self.progress(site) for site in sites}), 1, seed)
            self.assertEqual(len({self.lag(site) for site in sites}), 1, seed)

    def test_who_hears_that_another_site_makes_up_for_it_forgets_its_own(self) -> None:
        self.anna.commit(FallBehind(FAR, 5, ()), NoteLag(KnownLag(FAR, 1, "anna", 5)))
        self.exchange(self.anna, self.berta)
        self.assertEqual(self.lag(self.berta), KnownLag(FAR, 1, "anna", 5))
        self.berta.commit(FallBehind(FAR, 3, ()), NoteLag(KnownLag(FAR, 2, "berta", 3)))
        self.exchange(self.anna, self.berta)
        self.assertEqual(self.anna.read(DestinationsBehindRepository().get_lagging), [])
        self.assertEqual(len(self.berta.read(DestinationsBehindRepository().get_lagging)), 1)
        self.berta.commit(NoteLag(KnownLag(FAR, 2, "berta", None)))
        self.exchange(self.anna, self.berta)
        self.assertEqual(self.lag(self.anna), KnownLag(FAR, 2, "berta", None))

    def overlooked(self, site: StoredSite) -> frozenset[str]:
        repository = OverlookedEventsRepository()
        return frozenset(
            name
            for name in EVENTS
            if site.read(lambda tx: repository.is_noted(tx, FAR, name))  # noqa: B023
        )

    def test_events_that_were_passed_over_come_to_the_same_in_any_order(self) -> None:
        for seed in range(10):
            chance = random.Random(seed)
            sites = [self.given_site(name) for name in ("x", "y", "z")]
            for _ in range(15):
                site = chance.choice(sites)
                site.now_ms += chance.randrange(5000)
                change = chance.choice((NoteOverlooked, ForgetOverlooked))
                site.commit(change(FAR, tuple(chance.sample(EVENTS, 2))))
                chance.choice(sites).hear(chance.choice([other for other in sites if other is not site]))
            self.exchange(*sites)
            self.exchange(*sites)
            self.assertEqual(len({self.overlooked(site) for site in sites}), 1, seed)

    def test_who_sends_next_knows_what_was_passed_over(self) -> None:
        self.anna.commit(NoteOverlooked(FAR, EVENTS))
        self.exchange(self.anna, self.berta)
        self.assertEqual(self.overlooked(self.berta), frozenset(EVENTS))
        self.berta.commit(ForgetOverlooked(FAR, EVENTS[1:]))
        self.exchange(self.anna, self.berta)
        self.assertEqual(self.overlooked(self.anna), frozenset(EVENTS[:1]))

    def test_stream_ids_grow_whoever_tells_of_a_device(self) -> None:
        first, second = NoteDeviceChange(ALICE, "A", 900, 1), NoteDeviceChange(ALICE, "B", 4, 2)
        self.assertGreater(second.stream_id, first.stream_id)
        self.anna.commit(first)
        self.exchange(self.anna, self.berta)
        self.assertEqual(self.berta.commit(second).results, (first.stream_id,))
        self.exchange(self.anna, self.berta)
        for site in (self.anna, self.berta):
            newest = site.read(lambda tx: DeviceListUpdatesRepository().find_stream_id(tx, ALICE))
            self.assertEqual(newest, second.stream_id)

    def test_of_two_decisions_the_higher_one_counts(self) -> None:
        self.anna.commit(StoreDecision(DUTY, Decision(3, "berta", "")))
        self.anna.commit(StoreDecision(DUTY, Decision(2, "anna", "anna")))
        self.assertEqual(self.anna.commit(TakeDutyOver(DUTY, "anna")).results, (Decision(4, "anna", ""),))
        known = self.anna.read(lambda tx: DutiesRepository().find_decision(tx, DUTY))
        self.assertEqual(known, Decision(4, "anna", ""))

    def test_stripped_state_without_a_member_event_tells_nothing(self) -> None:
        self.anna.commit(KeepStripped(ALICE, "!room:far.example", (), (FAR,)))
        self.exchange(self.anna, self.berta)
        self.assertEqual(self.berta.all_values().get(("outside_member", (ALICE, "!room:far.example"))), None)


class SqliteDutyRecordsTests(SqliteStorage, DutyRecordsTests, SynchronousTestCase): ...


class PostgresDutyRecordsTests(PostgresStorage, DutyRecordsTests, SynchronousTestCase): ...
