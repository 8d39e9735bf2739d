"""What was answered is on the disk: kill -9 under load, start again, look."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

import aiohttp

from tests.support.configuration import Database, SqliteFile
from tests.support.http_client import MatrixClient
from tests.support.postgres import durable_postgres_database
from tests.support.server_process import ServerProcess
from tests.support.server_test_case import ServerProcessTestCase

KILLS = 10
USERS = 4
IN_FLIGHT_PER_USER = 50
ROUND_DEADLINE_S = 60.0


@dataclass
class Ledger:
    """What the clients know. A message is its transaction ID, which is its text too."""

    sender: dict[str, str] = field(default_factory=dict)
    event_ids: dict[str, str] = field(default_factory=dict)

    def unanswered(self) -> list[str]:
        return [message for message in self.sender if message not in self.event_ids]


class Load:
    """Many senders at once, until the server is gone, which happens when enough have been answered."""

    def __init__(self, server: ServerProcess, room_id: str, ledger: Ledger, kill_after: int) -> None:
        self._server = server
        self._room_id = room_id
        self._ledger = ledger
        self._answers_left = kill_after

    async def run(self, tokens: Mapping[str, str], kill_number: int) -> None:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(self._server.base_url, connector=connector) as session:
            await asyncio.gather(
                *(
                    self._send_until_gone(session, user, token, f"{kill_number}-{user}-{sender}")
                    for user, token in tokens.items()
                    for sender in range(IN_FLIGHT_PER_USER)
                )
            )

    async def _send_until_gone(
        self, session: aiohttp.ClientSession, user: str, token: str, sender: str
    ) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        number = 0
        while True:
            message = f"{sender}-{number}"
            number += 1
            self._ledger.sender[message] = user
            try:
                async with session.put(
                    send_path(self._room_id, message), json=content(message), headers=headers
                ) as response:
                    answer = await response.json()
            except aiohttp.ClientError:
                return
            if response.status != 200:
                raise AssertionError(f"{message} was answered {response.status}: {answer}")
            self._ledger.event_ids[message] = answer["event_id"]
            self._answers_left -= 1
            if self._answers_left == 0:
                self._server.kill9()


def send_path(room_id: str, message: str) -> str:
    return f"/_matrix/client/v3/rooms/{quote(room_id)}/send/m.room.message/{quote(message)}"


def content(message: str) -> Mapping[str, str]:
    return {"msgtype": "m.text", "body": message}


class Kill9Tests(ServerProcessTestCase):
    def test_nothing_answered_is_lost_or_doubled_on_sqlite(self) -> None:
        self.check_kills(SqliteFile())

    def test_nothing_answered_is_lost_or_doubled_on_postgresql(self) -> None:
        self.check_kills(durable_postgres_database(self))

    def check_kills(self, database: Database) -> None:
        server = self.start_server(database)
        users = [self.client(server).register(f"user{number}") for number in range(USERS)]
        room_id = users[0].create_room(preset="public_chat")
        for user in users[1:]:
            user.post(f"/rooms/{quote(room_id)}/join").expect(200)
        tokens = {user.user_id: user.access_token or "" for user in users}
        ledger = Ledger()
        moments = random.Random(9)
        for kill_number in range(KILLS):
            # Somewhere in the first messages of a start, or when all senders have had several turns.
            load = Load(server, room_id, ledger, kill_after=moments.randint(20, 600))
            asyncio.run(asyncio.wait_for(load.run(tokens, kill_number), ROUND_DEADLINE_S))
            server.start()
            with MatrixClient(server.base_url, tokens[users[0].user_id]) as reader:
                self.check_history(reader, room_id, ledger)
            self.check_retries(server, room_id, tokens, ledger)
        self.assertEqual(ledger.unanswered(), [])
        with MatrixClient(server.base_url, tokens[users[0].user_id], witness=self.witness) as reader:
            self.check_history(reader, room_id, ledger)
        self.assertEqual(server.terminate(), 0)

    def check_history(self, reader: MatrixClient, room_id: str, ledger: Ledger) -> None:
        """Each answered message is there once, under its ID; one without an answer at most once."""
        history = list(texts_of(reader, room_id))
        times = Counter(text for _, text in history)
        self.assertEqual([text for text, count in times.items() if count != 1], [], "more than once")
        found = {text: event_id for event_id, text in history}
        lost = {text: event_id for text, event_id in ledger.event_ids.items() if found.get(text) != event_id}
        self.assertEqual(lost, {}, "answered, but not in the history")
        self.assertEqual(set(found) - set(ledger.sender), set(), "never sent")

    def check_retries(
        self, server: ServerProcess, room_id: str, tokens: Mapping[str, str], ledger: Ledger
    ) -> None:
        """As a client does that got no answer: the same transaction again. An answer is given only once."""
        unanswered = ledger.unanswered()
        answered = list(ledger.event_ids)[-50:]
        for user, token in tokens.items():
            with MatrixClient(server.base_url, token) as client:
                for message in self.of(user, unanswered, ledger):
                    ledger.event_ids[message] = self.send(client, room_id, message)
                for message in self.of(user, answered, ledger):
                    self.assertEqual(self.send(client, room_id, message), ledger.event_ids[message])

    def of(self, user: str, messages: Sequence[str], ledger: Ledger) -> list[str]:
        return [message for message in messages if ledger.sender[message] == user]

    def send(self, client: MatrixClient, room_id: str, message: str) -> str:
        event_id: str = client.put(send_path(room_id, message), content(message)).expect(200)["event_id"]
        return event_id


def texts_of(reader: MatrixClient, room_id: str) -> Iterator[tuple[str, str]]:
    """(event ID, text) of each message of the room, from the newest to the oldest."""
    query = {"dir": "b", "limit": "500"}
    while True:
        page = reader.get(f"/rooms/{quote(room_id)}/messages", query).expect(200)
        for event in page["chunk"]:
            if event["type"] == "m.room.message":
                yield event["event_id"], event["content"]["body"]
        if "end" not in page:
            return
        query["from"] = page["end"]
