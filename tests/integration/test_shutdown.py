"""SIGTERM: who is being answered gets the answer, who is idle is hung up on, and a second one waits for nobody."""

import http.client
import json
import os
import signal
import socket
import ssl
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg2

from tests.integration.federation.authority import Authority
from tests.integration.federation.peers import eventually
from tests.support.http_client import MatrixClient
from tests.support.postgres import postgres_database
from tests.support.server_process import ServerProcess
from tests.support.server_test_case import ServerProcessTestCase

WRITES = 40
DEADLINE_S = 20.0


class ShutdownTests(ServerProcessTestCase):
    def given_room(self, server: ServerProcess) -> tuple[MatrixClient, str]:
        alice = self.client(server).register("alice")
        return alice, alice.create_room()

    def connection(self, server: ServerProcess) -> socket.socket:
        address = urlsplit(server.base_url)
        assert address.hostname is not None and address.port is not None
        connection = socket.create_connection((address.hostname, address.port), DEADLINE_S)
        self.addCleanup(connection.close)
        return connection

    def request_bytes(self, method: str, path: str, user: MatrixClient, body: bytes) -> bytes:
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: one.example\r\nAuthorization: Bearer {user.access_token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def send_request(self, user: MatrixClient, room_id: str, number: int) -> bytes:
        path = f"/_matrix/client/v3/rooms/{quote(room_id)}/send/m.room.message/{number}"
        return self.request_bytes(
            "PUT", path, user, json.dumps({"msgtype": "m.text", "body": str(number)}).encode()
        )

    def answer(self, connection: socket.socket) -> tuple[http.client.HTTPResponse, bytes]:
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response, response.read()

    def let_it_read(self, user: MatrixClient) -> None:
        """Return when the server has read everything that was sent to it before."""
        # At the first answer it has accepted all connections that were made before; at the second one, it has gone
        # through all that there was to read in them.
        for _ in range(2):
            user.get("/account/whoami").expect(200)

    def wait_until_it_refuses(self, server: ServerProcess) -> None:
        """Until the signal has arrived: there is no other sign of that from outside."""
        end_s = time.monotonic() + DEADLINE_S
        while time.monotonic() < end_s:
            try:
                self.connection(server).close()
            except OSError:
                return
        self.fail("the server goes on listening")

    def test_writes_in_flight_are_answered_and_kept(self) -> None:
        server = self.start_server()
        alice, room_id = self.given_room(server)
        # Most of each request is there, so that all of them are under way; the last byte comes after the signal.
        requests = [self.send_request(alice, room_id, number) for number in range(WRITES)]
        connections = [self.connection(server) for _ in requests]
        for connection, request in zip(connections, requests, strict=True):
            connection.sendall(request[:-1])
        self.let_it_read(alice)
        os.kill(server.pid, signal.SIGTERM)
        self.wait_until_it_refuses(server)
        for connection, request in zip(connections, requests, strict=True):
            connection.sendall(request[-1:])
        event_ids = []
        for connection in connections:
            response, body = self.answer(connection)
            self.assertEqual((response.status, response.getheader("Connection")), (200, "close"))
            event_ids.append(json.loads(body)["event_id"])
            self.assertEqual(connection.recv(1), b"")
        self.assertEqual(server.wait(), 0)
        server.start()
        again = self.client(server).log_in("alice")
        for event_id in event_ids:
            again.get(f"/rooms/{quote(room_id)}/event/{quote(event_id)}").expect(200)

    def test_idle_connection_is_hung_up_on(self) -> None:
        server = self.start_server()
        alice, room_id = self.given_room(server)
        connection = self.connection(server)
        connection.sendall(self.send_request(alice, room_id, 1))
        response, _ = self.answer(connection)
        self.assertEqual((response.status, response.getheader("Connection")), (200, None))
        started_s = time.monotonic()
        self.assertEqual(server.terminate(), 0)
        self.assertLess(time.monotonic() - started_s, DEADLINE_S)
        self.assertEqual(connection.recv(1), b"")

    def test_idle_connection_with_tls_is_hung_up_on(self) -> None:
        authority = Authority(Path(self.mktemp()).resolve())
        identity = authority.issue("one", ["localhost"])
        listener = {
            "port": 0,
            "type": "http",
            "tls": True,
            "bind_addresses": ["127.0.0.1"],
            "resources": [{"names": ["client"]}],
        }
        server = self.start_server(
            overrides={
                "listeners": [listener],
                "tls_certificate_path": str(identity.certificate),
                "tls_private_key_path": str(identity.private_key),
            }
        )
        context = ssl.create_default_context(cafile=str(authority.certificate))
        connection = context.wrap_socket(self.connection(server), server_hostname="localhost")
        self.addCleanup(connection.close)
        connection.sendall(b"GET /_matrix/client/versions HTTP/1.1\r\nHost: localhost\r\n\r\n")
        response, _ = self.answer(connection)
        self.assertEqual((response.status, response.getheader("Connection")), (200, None))
        os.kill(server.pid, signal.SIGTERM)
        self.assertEqual(connection.recv(1), b"")
        connection.close()
        self.assertEqual(server.wait(), 0)

    def test_request_that_never_ends_is_cut_off_after_the_grace(self) -> None:
        server = self.start_server(overrides={"popcube": {"shutdown_grace": "1s"}})
        alice, room_id = self.given_room(server)
        connection = self.connection(server)
        connection.sendall(self.send_request(alice, room_id, 1)[:-1])
        self.let_it_read(alice)
        self.assertEqual(server.terminate(), 0)
        self.assertIn("shutdown_grace", server.log_text())

    def test_database_that_does_not_answer_does_not_keep_it_from_ending(self) -> None:
        database = postgres_database(self)
        server = self.start_server(database, overrides={"popcube": {"shutdown_grace": "1s"}})
        alice, room_id = self.given_room(server)
        locking = psycopg2.connect(**database.as_connect_arguments())
        self.addCleanup(locking.close)
        with locking.cursor() as cursor:
            cursor.execute("LOCK TABLE log_head IN ACCESS EXCLUSIVE MODE")
            connection = self.connection(server)
            connection.sendall(self.send_request(alice, room_id, 1))
            waiting = "SELECT COUNT(*) FROM pg_locks WHERE NOT granted AND relation = 'log_head'::regclass"
            eventually(lambda: _value(cursor, waiting) > 0, "the server's transaction waits")
            self.assertEqual(server.terminate(), 0)
        self.assertIn("A thread for write work does not end", server.log_text())

    def test_database_that_is_gone_does_not_keep_it_from_ending(self) -> None:
        database = postgres_database(self)
        server = self.start_server(database)
        self.given_room(server)
        arguments = database.as_connect_arguments()
        with closing(psycopg2.connect(**{**arguments, "dbname": "postgres"})) as other:
            other.autocommit = True
            cursor = other.cursor()
            cursor.execute(f'ALTER DATABASE "{arguments["dbname"]}" ALLOW_CONNECTIONS false')
            ended = "SELECT COUNT(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE datname = %s"
            cursor.execute(ended, (arguments["dbname"],))
            started_s = time.monotonic()
            self.assertEqual(server.terminate(), 0)
        # The grace is 30 s.
        self.assertLess(time.monotonic() - started_s, DEADLINE_S)
        self.assertIn("did not end well", server.log_text())

    def test_second_signal_ends_it_at_once(self) -> None:
        server = self.start_server()
        alice, room_id = self.given_room(server)
        connection = self.connection(server)
        connection.sendall(self.send_request(alice, room_id, 1)[:-1])
        self.let_it_read(alice)
        os.kill(server.pid, signal.SIGTERM)
        self.wait_until_it_refuses(server)
        started_s = time.monotonic()
        self.assertEqual(server.terminate(), 1)
        # The grace is 30 s.
        self.assertLess(time.monotonic() - started_s, DEADLINE_S)

    def test_pid_file_is_there_while_the_server_runs(self) -> None:
        path = Path(self.mktemp()).resolve()
        server = self.start_server(overrides={"pid_file": str(path)})
        self.assertEqual(path.read_text(), f"{server.pid}\n")
        self.assertEqual(server.terminate(), 0)
        self.assertFalse(path.exists())


def _value(cursor: Any, statement: str) -> Any:
    cursor.execute(statement)
    return cursor.fetchone()[0]
