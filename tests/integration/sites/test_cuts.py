"""Twenty clients write through both sites while the link between them breaks again and again."""

import asyncio
import os
import random
from collections import Counter
from pathlib import Path
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.federation.peers import eventually
from tests.integration.sites.load import Ledger, Load, Writer
from tests.integration.sites.reading import RoomSeen, see_room, texts
from tests.integration.sites.relay import SILENT, Weather
from tests.integration.sites.sites import TwoSites
from tests.support.configuration import Database, SqliteFile
from tests.support.http_client import MatrixClient
from tests.support.postgres import postgres_database

WRITERS = 20
ROOMS = 4
CUTS = int(os.environ.get("POPCUBE_SITE_CUTS", "10"))
CUTS_ON_SQLITE = min(CUTS, 4)
SCENARIO_DEADLINE_S = 60.0 + 10 * CUTS
PAUSE_S = 0.4
SITES = ("anna", "berta")


class CutsTests(SynchronousTestCase):
    """Members are banned and let in again on one site while they write on the other."""

    def test_both_sites_agree_on_postgresql(self) -> None:
        self.check_cuts((postgres_database(self), postgres_database(self)), CUTS)

    def test_both_sites_agree_on_sqlite(self) -> None:
        self.check_cuts((SqliteFile(), SqliteFile()), CUTS_ON_SQLITE)

    def check_cuts(self, databases: tuple[Database, Database], cuts: int) -> None:
        self.sites = TwoSites(Path(self.mktemp()).resolve(), databases)
        self.addCleanup(self.sites.kill9)
        self.sites.start()
        self.ledger = Ledger()
        self.admin = self.client("anna").register("admin")
        self.there = self.client("berta", self.admin.access_token)
        users = [self.client("anna").register(f"user{number}") for number in range(WRITERS)]
        self.rooms = [self.admin.create_room(preset="public_chat") for _ in range(ROOMS)]
        for room_id in self.rooms:
            # Anybody may change the topic: the sites have something to resolve.
            levels = self.admin.get(f"/rooms/{quote(room_id)}/state/m.room.power_levels").expect(200)
            levels["events"]["m.room.topic"] = 0
            self.admin.put(f"/rooms/{quote(room_id)}/state/m.room.power_levels", levels).expect(200)
            for user in users:
                user.post(f"/rooms/{quote(room_id)}/join").expect(200)
        try:
            eventually(self.is_everything_at_berta, "the rooms are at berta")
        except AssertionError:
            self.fail(self.logs())
        self.users = [user.user_id for user in users]
        writers = [Writer(user.user_id, user.access_token or "") for user in users]
        asyncio.run(asyncio.wait_for(self.write_and_cut(writers, cuts), SCENARIO_DEADLINE_S))
        self.check_agreement()

    def client(self, site: str, token: str | None = None) -> MatrixClient:
        client = MatrixClient(self.sites.url(site), token)
        self.addCleanup(client.close)
        return client

    def is_everything_at_berta(self) -> bool:
        return all(
            len(answer.json["joined"]) == WRITERS + 1
            for room_id in self.rooms
            for answer in [self.there.get(f"/rooms/{quote(room_id)}/joined_members")]
            if answer.status == 200
        ) and all(
            self.there.get(f"/rooms/{quote(room_id)}/joined_members").status == 200 for room_id in self.rooms
        )

    async def write_and_cut(self, writers: list[Writer], cuts: int) -> None:
        load = Load(
            self.sites.url,
            lambda chance: chance.choice(SITES),
            self.rooms,
            self.ledger,
            pause_s=PAUSE_S,
            changes_of_state=0.1,
        )
        writing = asyncio.ensure_future(load.run(writers))
        chance = random.Random(7)
        try:
            for number in range(cuts):
                await asyncio.to_thread(self.sites.change_weather, chance.choice(WEATHERS))
                await asyncio.sleep(chance.uniform(0.3, 0.8))
                await asyncio.to_thread(self.break_link, number)
                await asyncio.to_thread(self.moderate, chance)
                await asyncio.sleep(chance.uniform(0.3, 1.2))
                await asyncio.to_thread(self.sites.heal)
        finally:
            load.stop()
            await writing

    def break_link(self, number: int) -> None:
        if number % 4 == 3:
            # Nobody is told that the connection is dead.
            self.sites.change_weather(SILENT)
        else:
            self.sites.cut()

    def moderate(self, chance: random.Random) -> None:
        """On one site; the other one does not hear of it yet."""
        moderator = chance.choice((self.admin, self.there))
        for room_id in self.rooms:
            user = {"user_id": chance.choice(self.users)}
            verb = chance.choice(("kick", "ban", "unban", "ban"))
            answer = moderator.post(f"/rooms/{quote(room_id)}/{verb}", user)
            assert answer.status in (200, 403), answer

    def check_agreement(self) -> None:
        try:
            eventually(lambda: self.seen(self.admin) == self.seen(self.there), "both sites show the same")
        except AssertionError:
            self.fail(self.differences())
        for number, room_id in enumerate(self.rooms):
            found = texts(self.there, room_id)
            times = Counter(text for text, _ in found)
            self.assertEqual([text for text, count in times.items() if count > 1], [], "more than once")
            wanted = {
                text: answered.event_id
                for text, answered in self.ledger.answered.items()
                if answered.room_id == room_id
            }
            lost = {text: event_id for text, event_id in wanted.items() if dict(found).get(text) != event_id}
            self.assertEqual(lost, {}, f"answered, but not in room {number}")
        self.assertGreater(len(self.ledger.answered), 5 * WRITERS)

    def differences(self) -> str:
        """What the sites do not agree about, and how their links stand."""
        lines = []
        for number, (here, there) in enumerate(
            zip(self.seen(self.admin), self.seen(self.there), strict=True)
        ):
            pairs = {
                pair for pair in {*here.state, *there.state} if here.state.get(pair) != there.state.get(pair)
            }
            lines.append(
                f"room {number}: state {sorted(pairs)}, members {sorted(here.members ^ there.members)}"
            )
            lines.append(f"  only at anna: {sorted(here.events - there.events)}")
            lines.append(f"  only at berta: {sorted(there.events - here.events)}")
        return "\n".join(lines) + self.logs()

    def logs(self) -> str:
        lines = []
        for site in SITES:
            lines += [self.sites.command(site, "status"), self.sites.processes[site].log_text()]
        return "\n".join(lines)

    def seen(self, client: MatrixClient) -> list[RoomSeen]:
        return [see_room(client, room_id) for room_id in self.rooms]


WEATHERS = (
    Weather(),
    Weather(delay_s=0.05),
    Weather(bytes_per_s=100_000),
)
