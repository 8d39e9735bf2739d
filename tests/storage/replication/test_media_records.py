"""Media IDs that sites reserve, fill, look at and delete apart."""

import random
from dataclasses import replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from storage.media import (
    ContentRecord,
    FillMedia,
    MediaRepository,
    NotPending,
    QuotaExceeded,
    ReserveMedia,
    StoreMedia,
    UploadLimit,
)
from storage.media_use import DeleteUnusedMedia, TellMediaUse
from storage.merge_media import find_media_state
from storage.missing_media import (
    ForgetDroppedFiles,
    HaveMediaFile,
    MissingMediaRepository,
    MissMediaFile,
    miss_everything,
)
from tests.storage.replication.sites_case import SitesMixin, StoredSite
from tests.storage.storage_case import PostgresStorage, SqliteStorage

ALICE = "@alice:one.example"
NOW_MS = 1_000_000
HOUR_MS = 3_600_000


def content(number: int, uploaded_ms: int = NOW_MS) -> ContentRecord:
    return ContentRecord(
        uploaded_ms, "text/plain", "a\0b ü.txt", 100 + number, bytes([number]) * 32, f"{number:032x}", True
    )


def reserve(media_id: str) -> ReserveMedia:
    return ReserveMedia(media_id, ALICE, NOW_MS, NOW_MS + HOUR_MS, 100)


class MediaRecordsTests(SitesMixin):
    missing = MissingMediaRepository()

    def content_of(self, site: StoredSite, media_id: str = "m") -> ContentRecord | None:
        row = site.read(lambda tx: MediaRepository().find(tx, media_id))
        return None if row is None else row.content

    def missing_at(self, site: StoredSite) -> list[str]:
        files = site.read(lambda tx: self.missing.list_due(tx, NOW_MS, 100))
        self.assertEqual(site.read(self.missing.count).files, len(files))
        return [file.file_key for file in files]

    def dropped_at(self, site: StoredSite) -> list[str]:
        return sorted(site.read(lambda tx: self.missing.list_dropped(tx, 100)))

    def test_an_upload_is_known_at_the_other_site_and_its_file_missing(self) -> None:
        self.anna.commit(StoreMedia("m", ALICE, content(1), ()))
        self.berta.hear(self.anna)
        self.assertEqual(self.content_of(self.berta), content(1))
        self.assertEqual(self.missing_at(self.berta), [content(1).file_key])
        self.assertEqual(self.missing_at(self.anna), [])

    def test_the_newest_missing_files_come_first_and_those_tried_in_vain_later(self) -> None:
        for number in (1, 2, 3):
            self.anna.commit(StoreMedia(f"m{number}", ALICE, content(number), ()))
            self.berta.hear(self.anna)
        self.berta.commit(MissMediaFile(content(3).file_key, 1, NOW_MS + 5))
        self.assertEqual(
            [file.file_key for file in self.berta.read(lambda tx: self.missing.list_due(tx, NOW_MS, 10))],
            [content(2).file_key, content(1).file_key],
        )
        later = self.berta.read(lambda tx: self.missing.list_due(tx, NOW_MS + 5, 1))
        self.assertEqual([(file.file_key, file.tries) for file in later], [(content(3).file_key, 1)])
        self.assertEqual(self.berta.read(self.missing.find_next_retry_ms), 0)
        count = self.berta.read(self.missing.count)
        self.assertEqual((count.files, count.size_bytes), (3, 306))

    def test_a_file_that_came_is_missing_no_more(self) -> None:
        self.anna.commit(StoreMedia("m", ALICE, content(1), ()))
        self.berta.hear(self.anna)
        committed = self.berta.commit(HaveMediaFile(content(1).file_key), HaveMediaFile("f" * 32))
        self.assertEqual(committed.results, (True, False))
        self.assertEqual(self.missing_at(self.berta), [])

    def test_a_copied_database_has_no_files(self) -> None:
        self.anna.commit(StoreMedia("m", ALICE, content(1), ()), reserve("waiting"))
        self.anna.database.write_now(miss_everything)
        self.assertEqual(self.missing_at(self.anna), [content(1).file_key])

    def test_an_id_of_one_site_is_filled_at_the_other(self) -> None:
        self.anna.commit(reserve("m"))
        self.berta.hear(self.anna)
        self.berta.commit(FillMedia("m", ALICE, content(1), ()))
        self.anna.hear(self.berta)
        self.assertEqual(self.content_of(self.anna), content(1))
        with self.assertRaises(NotPending):
            self.anna.commit(FillMedia("m", ALICE, content(2), ()))

    def test_of_two_contents_of_one_id_the_earlier_stays(self) -> None:
        self.anna.commit(reserve("m"))
        self.berta.hear(self.anna)
        self.anna.commit(FillMedia("m", ALICE, content(1, NOW_MS + 1), ()))
        self.berta.commit(FillMedia("m", ALICE, content(2, NOW_MS), ()))
        self.exchange(self.anna, self.berta)
        for site in (self.anna, self.berta):
            self.assertEqual(self.content_of(site), content(2, NOW_MS))
        self.assertEqual(self.missing_at(self.anna), [content(2).file_key])
        self.assertEqual(self.dropped_at(self.anna), [content(1).file_key])
        self.assertEqual((self.missing_at(self.berta), self.dropped_at(self.berta)), ([], []))
        self.anna.commit(ForgetDroppedFiles((content(1).file_key,)))
        self.assertEqual(self.dropped_at(self.anna), [])

    def test_uploads_of_all_sites_count_for_the_quota(self) -> None:
        self.anna.commit(StoreMedia("m", ALICE, content(1), ()))
        self.berta.hear(self.anna)
        with self.assertRaises(QuotaExceeded):
            self.berta.commit(StoreMedia("n", ALICE, content(2), (UploadLimit(HOUR_MS, 200),)))

    def test_what_nobody_looked_at_goes_everywhere(self) -> None:
        self.anna.commit(StoreMedia("m", ALICE, content(1), ()))
        self.berta.hear(self.anna)
        self.berta.commit(HaveMediaFile(content(1).file_key))
        old = [placed.record for placed in self.anna.export("berta")]
        self.anna.commit(DeleteUnusedMedia("m", NOW_MS + 1))
        self.berta.hear(self.anna)
        self.assertIsNone(self.content_of(self.berta))
        self.assertEqual(self.dropped_at(self.berta), [content(1).file_key])
        self.berta.take_in("anna", old)
        self.assertIsNone(self.content_of(self.berta))

    def test_what_somebody_looked_at_on_the_other_side_of_a_cut_stays(self) -> None:
        self.anna.commit(StoreMedia("m", ALICE, content(1), ()))
        self.berta.hear(self.anna)
        self.berta.commit(TellMediaUse(content(1).file_key, NOW_MS + 50))
        committed = self.anna.commit(DeleteUnusedMedia("m", NOW_MS + 50))
        self.assertEqual(committed.results, ([content(1).file_key],))
        self.exchange(self.anna, self.berta)
        for site in (self.anna, self.berta):
            self.assertEqual(self.content_of(site), content(1))
        # Its file was deleted and has to come back.
        self.assertEqual(self.missing_at(self.anna), [content(1).file_key])

    def test_a_deletion_that_found_it_in_use_tells_nobody_anything(self) -> None:
        self.anna.commit(StoreMedia("m", ALICE, content(1), ()))
        position = self.anna.log.position
        self.anna.commit(DeleteUnusedMedia("m", NOW_MS))
        self.assertEqual(self.anna.export("berta", position), [])

    def test_all_sites_end_the_same_whatever_the_order(self) -> None:
        chance = random.Random(2)
        sites = (self.anna, self.berta, self.given_site("carla"))
        for round_number in range(8):
            self._play(chance, sites, [f"{round_number}.{number}" for number in range(2)])

    def _play(self, chance: random.Random, sites: tuple[StoredSite, ...], media_ids: list[str]) -> None:
        for media_id in media_ids:
            self.anna.commit(reserve(media_id))
        for site in sites[1:]:
            site.hear(self.anna)
        heard: list[Any] = []
        for _ in range(14):
            site = chance.choice(sites)
            site.now_ms += chance.randrange(3)
            self._change(chance, site, chance.choice(media_ids))
            heard.extend((site.name, placed.record) for placed in site.export(""))
            if chance.random() < 0.5:
                chance.choice(sites).hear(chance.choice(sites))
            if chance.random() < 0.3:
                # Something old, again.
                origin, record = chance.choice(heard)
                chance.choice(sites).take_in(origin, [record])
        self.exchange(*sites)
        self.exchange(*sites)
        for media_id in media_ids:
            states = [site.read(lambda tx, key=media_id: find_media_state(tx, key)) for site in sites]  # type: ignore[misc]
            self.assertEqual(states, [states[0]] * len(sites))

    def _change(self, chance: random.Random, site: StoredSite, media_id: str) -> None:
        row = site.read(lambda tx: MediaRepository().find(tx, media_id))
        now_ms = NOW_MS + chance.randrange(20)
        if row is None:
            return
        if row.content is None:
            made = replace(content(0, now_ms), file_key=f"{chance.getrandbits(128):032x}")
            site.commit(FillMedia(media_id, ALICE, made, ()))
        elif chance.random() < 0.6:
            site.commit(TellMediaUse(row.content.file_key, now_ms))
        else:
            site.commit(DeleteUnusedMedia(media_id, now_ms))


class SqliteMediaRecordsTests(SqliteStorage, MediaRecordsTests, SynchronousTestCase):
    pass


class PostgresMediaRecordsTests(PostgresStorage, MediaRecordsTests, SynchronousTestCase):
    pass
