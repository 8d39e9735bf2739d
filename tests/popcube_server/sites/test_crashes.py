"""A site is killed in the middle of a batch, between any two steps of what it writes.

After each death: what it had acknowledged is on its disk, and what its cursor says is there, is there. After it has
come back both sites have everything, once.
"""

import sqlite3
from contextlib import closing
from typing import Any
from urllib.parse import quote

import orjson
from twisted.internet.defer import Deferred

from federation.sites.link import LONGEST_PAUSE_S
from federation.transport.https import HttpRequest, HttpResponse
from storage.engines.engine import Engine
from tests.popcube_server.server_case import TestUser
from tests.popcube_server.sites.sites_case import ANNA, BERTA, SitesTestCase
from tests.support.mortal_engine import Fate, MortalEngine

STEPS = range(0, 100, 3)
"""Of what the site writes once the links are up: a batch has fewer."""


class CrashCase(SitesTestCase):
    def setUp(self) -> None:
        self.fates: dict[str, Fate] = {}
        self.told: dict[str, int] = {}
        """By log: what its site was told to be on the other one's disk."""
        super().setUp()
        self.network.observe = self.note
        self.alice = self.given_user("alice")
        self.there = self.at_berta(self.alice)
        self.room_id = self.given_room(self.alice)
        self.other_room_id = self.given_room(self.alice)
        self.settle()

    def make_engine(self, host: str) -> Engine:
        fate = self.fates[host] = Fate()
        return MortalEngine(super().make_engine(host), fate)

    def write_something(self, number: int) -> None:
        """Through both sites, which do not reach each other."""
        for at in range(3):
            self.given_message(self.alice, self.room_id, f"{number}.{at}")
            self.given_message(self.alice, self.other_room_id, f"{number}.{at}")
        self.given_message(self.there, self.room_id, f"there {number}")
        path = f"/_matrix/client/v3/rooms/{quote(self.room_id)}/state/m.room.topic"
        self.ok(self.put(path, {"topic": str(number)}, self.alice))
        path = f"/_matrix/client/v3/user/{quote(self.alice.user_id)}/account_data/com.example.last"
        self.ok(self.put(path, {"number": number}, self.alice))

    def run_links(self) -> None:
        self.network.down.clear()
        for _ in range(8):
            self.clock.advance(LONGEST_PAUSE_S / 4)
            self.network.flush()

    def check_dead(self, dead: str, alive: str) -> None:
        """What is on the disk of the dead one, of the log of the other one."""
        log = {ANNA: "anna", BERTA: "berta"}[alive]
        core = self.organisations[alive].core
        told = core.database.read_now(
            lambda tx: tx.all(
                "SELECT l.position, l.entry_key FROM log l JOIN names n ON n.nid = l.kind WHERE n.name = ?",
                (b"event",),
            )
        )
        with closing(sqlite3.connect(self.directory / dead / "homeserver.db")) as disk:
            row = disk.execute(
                "SELECT c.position FROM site_cursors c JOIN names n ON n.nid = c.log WHERE n.name = ?",
                (log.encode(),),
            ).fetchone()
            here = {event_id for (event_id,) in disk.execute("SELECT event_id FROM events")}
        cursor = 0 if row is None else row[0]
        self.assertGreaterEqual(cursor, self.told.get(log, 0))
        for position, key in told:
            if position <= cursor:
                self.assertIn(orjson.loads(key)[1], here)

    def check_alike(self) -> None:
        for room_id in (self.room_id, self.other_room_id):
            self.assertEqual(self.history(self.alice, room_id), self.history(self.there, room_id))
        data = f"/_matrix/client/v3/user/{quote(self.alice.user_id)}/account_data/com.example.last"
        self.assertEqual(self.ok(self.get(data, self.alice)), self.ok(self.get(data, self.there)))
        topic = f"/_matrix/client/v3/rooms/{quote(self.room_id)}/state/m.room.topic"
        self.assertEqual(self.ok(self.get(topic, self.alice)), self.ok(self.get(topic, self.there)))
        for host in (ANNA, BERTA):
            database = self.organisations[host].core.database
            twice = database.read_now(
                lambda tx: tx.all(
                    "SELECT l.entry_key FROM log l JOIN names n ON n.nid = l.kind WHERE n.name = ?"
                    " GROUP BY l.entry_key HAVING COUNT(*) > 1",
                    (b"event",),
                )
            )
            self.assertEqual(twice, [])

    def history(self, user: TestUser, room_id: str) -> list[tuple[str, str]]:
        """What was said, in an order that is the same everywhere."""
        path = f"/_matrix/client/v3/rooms/{quote(room_id)}/messages?dir=b&limit=1000"
        chunk: list[dict[str, Any]] = self.ok(self.get(path, user))["chunk"]
        return sorted((event["type"], event["event_id"]) for event in chunk)

    def note(self, request: HttpRequest, response: HttpResponse) -> None:
        if request.uri.endswith("/sites/v1/changes") and response.status == 200:
            assert request.body is not None
            log = orjson.loads(request.body)["log"]
            self.told[log] = max(self.told.get(log, 0), orjson.loads(response.body)["position"])

    def bury(self, host: str) -> None:
        """What is left in memory of a process that was killed does nothing any more."""
        organisation = self.organisations.pop(host)
        self.dead.add(host)
        for part in reversed(organisation._parts):
            # They cannot write what they want to write at the end.
            Deferred.fromCoroutine(part.stop()).addErrback(lambda failure: None)
        organisation.core.database.close()

    def check_with_deaths_of(self, dying: str, alive: str) -> None:
        """In each round a little later."""
        deaths = 0
        for steps in STEPS:
            self.cut()
            self.write_something(steps)
            self.fates[dying].die_after(steps)
            self.run_links()
            self.fates[dying].spare()
            if self.fates[dying].is_dead:
                deaths += 1
                self.bury(dying)
                self.check_dead(dying, alive)
                self.revive(dying)
            self.settle()
            self.check_alike()
        self.assertGreater(deaths, len(STEPS) / 2)


class CrashTests(CrashCase):
    def test_a_site_that_only_listens_is_killed_at_each_step_and_loses_nothing(self) -> None:
        self.check_with_deaths_of(BERTA, ANNA)

    def test_a_site_whose_peer_has_less_to_tell_is_killed_at_each_step_and_loses_nothing(self) -> None:
        self.check_with_deaths_of(ANNA, BERTA)
