"""A site burns while it is written to: what had been answered, who goes on where, and the site built again."""

import asyncio
import os
import time
from collections import Counter
from pathlib import Path
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.federation.peers import eventually
from tests.integration.sites.load import Answered, Ledger, Load, Writer
from tests.integration.sites.reading import metric, see_room, texts
from tests.integration.sites.relay import Weather
from tests.integration.sites.sites import TwoSites
from tests.support.configuration import Database, SqliteFile
from tests.support.http_client import MatrixClient
from tests.support.postgres import postgres_database

WRITERS = 8
LOAD_S = float(os.environ.get("POPCUBE_SITE_LOAD_S", "2"))
PAUSE_S = 0.05
SITES = ("anna", "berta")
GO_ON_WITHIN_S = 5.0


class LossesTests(SynchronousTestCase):
    """`anna` is lost."""

    def given_sites(self, durability: str, databases: tuple[Database, Database]) -> None:
        self.sites = TwoSites(Path(self.mktemp()).resolve(), databases, durability)
        self.addCleanup(self.sites.kill9)
        self.sites.start()
        self.ledger = Ledger()
        self.urls = {site: self.sites.url(site) for site in SITES}
        users = [self.client("anna").register(f"user{number}") for number in range(WRITERS)]
        self.writers = [Writer(user.user_id, user.access_token or "") for user in users]
        self.room_id = users[0].create_room(preset="public_chat")
        for user in users[1:]:
            user.post(f"/rooms/{quote(self.room_id)}/join").expect(200)
        self.there = self.client("berta", users[0].access_token)
        eventually(self.has_everybody, "the room is at berta")
        self.load = Load(
            self.urls.__getitem__, lambda chance: chance.choice(SITES), [self.room_id], self.ledger, PAUSE_S
        )

    def client(self, site: str, token: str | None = None) -> MatrixClient:
        client = MatrixClient(self.sites.url(site), token)
        self.addCleanup(client.close)
        return client

    def has_everybody(self) -> bool:
        answer = self.there.get(f"/rooms/{quote(self.room_id)}/joined_members")
        return answer.status == 200 and len(answer.json["joined"]) == WRITERS

    def test_nothing_answered_is_lost_on_postgresql(self) -> None:
        self.given_sites("site", (postgres_database(self), postgres_database(self)))
        eventually(self.is_safe, "both sites wait for each other")
        asyncio.run(self.lose_and_rebuild(postgres_database(self)))
        self.check_agreement(lost=set())

    def test_nothing_answered_is_lost_on_sqlite(self) -> None:
        self.given_sites("site", (SqliteFile(), SqliteFile()))
        eventually(self.is_safe, "both sites wait for each other")
        asyncio.run(self.lose_and_rebuild(SqliteFile()))
        self.check_agreement(lost=set())

    def test_what_is_lost_without_waiting_is_what_the_backlog_showed(self) -> None:
        self.given_sites("local", (postgres_database(self), postgres_database(self)))
        asyncio.run(self.lose_and_rebuild(postgres_database(self)))
        lost = self.lost_of(self.until_the_loss())
        # What was answered after the figure was read comes on top of it.
        since = [each for each in self.until_the_loss().values() if each.answered_s > self.read_s]
        print(
            f"lost {len(lost)} of {len(self.until_the_loss())}; backlog {self.backlog:g} + {len(since)} since"
        )
        self.assertLessEqual(len(lost), self.backlog + len(since))
        self.assertGreater(self.backlog, 0)
        self.check_agreement(lost)

    def is_safe(self) -> bool:
        return all(metric(self.client(site), "popcube_site_durability_fallen_back") == 0 for site in SITES)

    async def lose_and_rebuild(self, database: Database) -> None:
        # Else little is under way at any moment, and the loss proves nothing.
        self.sites.change_weather(Weather(delay_s=0.1))
        writing = asyncio.ensure_future(self.load.run(self.writers))
        try:
            await asyncio.sleep(LOAD_S)
            await asyncio.to_thread(self.lose_anna)
            await asyncio.to_thread(self.go_on)
            await asyncio.to_thread(self.sites.rebuild, "anna", "berta", database)
            await asyncio.to_thread(self.sites.processes["anna"].start)
            self.urls["anna"] = self.sites.url("anna")
            self.rebuilt_s = time.monotonic()
            await asyncio.sleep(LOAD_S)
        finally:
            self.load.stop()
            await writing

    def lose_anna(self) -> None:
        self.backlog = metric(self.client("anna"), "popcube_site_backlog")
        self.read_s = time.monotonic()
        self.sites.lose("anna")
        self.lost_s = time.monotonic()

    def go_on(self) -> None:
        """Everybody is answered by the other site soon, with the token of before."""
        eventually(self.has_answered_everybody, "berta answers everybody", GO_ON_WITHIN_S)

    def has_answered_everybody(self) -> bool:
        answered = {
            text.split("-")[1]
            for text, each in list(self.ledger.answered.items())
            if each.site == "berta"
            and each.asked_s > self.lost_s - GO_ON_WITHIN_S
            and each.answered_s > self.lost_s
        }
        return len(answered) == WRITERS

    def until_the_loss(self) -> dict[str, Answered]:
        """What the lost site had answered."""
        return {
            text: each
            for text, each in self.ledger.answered.items()
            if each.site == "anna" and each.answered_s < self.rebuilt_s
        }

    def lost_of(self, answered: dict[str, Answered]) -> set[str]:
        found = {event_id for _, event_id in texts(self.there, self.room_id)}
        return {text for text, each in answered.items() if each.event_id not in found}

    def check_agreement(self, lost: set[str]) -> None:
        here = self.client("anna", self.writers[0].token)
        eventually(
            lambda: see_room(here, self.room_id) == see_room(self.there, self.room_id),
            "both sites show the same",
        )
        found = texts(here, self.room_id)
        times = Counter(text for text, _ in found)
        self.assertEqual([text for text, count in times.items() if count > 1], [], "more than once")
        missing = {
            text for text, each in self.ledger.answered.items() if dict(found).get(text) != each.event_id
        }
        self.assertEqual(missing, lost, "answered, but not in the room")
        by_site = Counter(
            each.site for each in self.ledger.answered.values() if each.asked_s > self.rebuilt_s
        )
        self.assertEqual(set(by_site), set(SITES))
