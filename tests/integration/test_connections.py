"""How many connections to PostgreSQL a server has."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any
from urllib.parse import quote

import psycopg2

from synapse_like_config.database import MIN_CONNECTIONS
from tests.integration.federation.peers import eventually
from tests.support.http_client import MatrixClient
from tests.support.postgres import postgres_database
from tests.support.server_test_case import ServerProcessTestCase

OF_THE_SERVER = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
OF_EACH_KIND = 4


class ConnectionsTests(ServerProcessTestCase):
    def test_there_are_never_more_than_the_configuration_allows(self) -> None:
        database = postgres_database(self)
        arguments = database.as_connect_arguments()
        section = {"name": "psycopg2", "args": {**arguments, "cp_max": MIN_CONNECTIONS}}
        server = self.start_server(database, {"database": section})
        alice = self.client(server).register("alice")
        room_id = alice.create_room()

        def client() -> MatrixClient:
            one = self.client(server)
            one.access_token = alice.access_token
            return one

        def read() -> object:
            return client().get(f"/rooms/{quote(room_id)}/messages", {"dir": "b"}).expect(200)

        def write() -> object:
            return client().send_text(room_id, "hello")

        def log_in() -> object:
            return self.client(server).log_in("alice")

        kinds: tuple[Callable[[], object], ...] = (read, write, log_in)
        with (
            closing(psycopg2.connect(**arguments)) as locking,
            closing(psycopg2.connect(**arguments)) as looking,
            ThreadPoolExecutor(len(kinds) * OF_EACH_KIND) as threads,
        ):
            looking.autocommit = True
            # All wait for these, so that the server makes every thread that it may.
            locking.cursor().execute("LOCK TABLE log_head, accounts, events IN ACCESS EXCLUSIVE MODE")
            requests = [threads.submit(kind) for kind in kinds for _ in range(OF_EACH_KIND)]
            waiting = f"SELECT COUNT(*) {OF_THE_SERVER} AND wait_event_type = 'Lock'"
            try:
                eventually(lambda: _value(looking, waiting) >= MIN_CONNECTIONS, "all of them wait")
                own = locking.info.backend_pid
                there = _value(looking, f"SELECT COUNT(*) {OF_THE_SERVER} AND pid <> {own}")
            finally:
                locking.rollback()
            for request in requests:
                request.result()
        self.assertEqual(there, MIN_CONNECTIONS)


def _value(connection: Any, statement: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()[0]
