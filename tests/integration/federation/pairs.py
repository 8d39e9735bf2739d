"""Which servers stand against each other, and the base of the scenarios."""

import atexit
import functools
import itertools
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from psycopg2 import sql
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.integration.federation.authority import Authority
from tests.integration.federation.peers import OurPeer, Peer, SynapsePeer, User, eventually
from tests.support.configuration import SqliteFile
from tests.support.postgres import PostgresArgs, running_postgres
from tests.support.synapse_process import synapse_python

SHOWN_LOG_LINES = 60
# What the tests ask again and again, and what Synapse does in its first minute.
NOISE = ('"GET /_matrix/client', " GET /_matrix/client", "background_updates", "Responding to")


def join_at_last(user: User, room_id: str, via: str) -> None:
    """Join a room that must let the user in.

    For a tenth of a second after a cut Synapse remembers that the other server did not answer, and does not ask it:
    a test before this one may just have ended with one.
    """
    eventually(lambda: user.join(room_id, via), f"{user.user_id} joins {room_id}")


class Scenarios:
    """Base of the mixins: tests between `here` and `there`."""

    here: Peer
    there: Peer

    def given_shared_room(self, creator: User, *others: User, **options: Any) -> str:
        """A public room unless the options say otherwise, joined by all, on all servers."""
        room_id = creator.create_room(**{"preset": "public_chat", **options})
        for user in others:
            join_at_last(user, room_id, creator.peer.server_name)
        self.settle(room_id, creator, *others)
        return room_id

    def settle(self, room_id: str, *users: User) -> dict[tuple[str, str], str]:
        """Wait until all see the same state, and return it."""

        def same() -> dict[tuple[str, str], str]:
            first = users[0].state(room_id)
            for user in users[1:]:
                one = user.state(room_id)
                assert one == first, f"{user.user_id}: {_difference(first, one)}"
            return first

        return eventually(same, f"the same state for {[user.user_id for user in users]}")

    def both_ways(self) -> Iterator[tuple[Peer, Peer]]:
        """(here, there), then (there, here)."""
        return itertools.permutations((self.here, self.there), 2)  # type: ignore[return-value]

    @contextmanager
    def partition(self) -> Iterator[None]:
        """While it lasts, no server reaches the other one."""
        self.here.cut()
        self.there.cut()
        try:
            yield
        finally:
            self.here.heal()
            self.there.heal()


class Pair(SynchronousTestCase):
    """Base of the test cases: a test that fails shows what its servers logged."""

    def find_peers(self) -> tuple[Peer, Peer]:
        raise NotImplementedError

    def setUp(self) -> None:
        super().setUp()
        self.here, self.there = self.find_peers()
        setattr(self, self._testMethodName, self._with_logs(getattr(self, self._testMethodName)))

    def _with_logs(self, test: Callable[[], None]) -> Callable[[], None]:
        @functools.wraps(test)
        def wrapped() -> None:
            try:
                test()
            except SkipTest:
                raise
            except Exception as error:
                logs = "".join(shown_log(peer) for peer in (self.here, self.there))
                error.args = (f"{error}{logs}",)
                raise

        return wrapped


class OursOnSqliteWithSynapse(Pair):
    def find_peers(self) -> tuple[Peer, Peer]:
        return ours_on_sqlite(), synapse()


class OursOnPostgresWithSynapse(Pair):
    def find_peers(self) -> tuple[Peer, Peer]:
        return ours_on_postgres(), synapse()


class TwoOfOurs(Pair):
    def find_peers(self) -> tuple[Peer, Peer]:
        return ours_on_postgres(), ours_on_sqlite()


class OursOnIpv6WithSynapse(Pair):
    def find_peers(self) -> tuple[Peer, Peer]:
        return ours_on_ipv6(), synapse()


class OursOnIpv6WithOurs(Pair):
    def find_peers(self) -> tuple[Peer, Peer]:
        return ours_on_ipv6(), ours_on_sqlite()


# The servers of this process, started when a test asks for them first.


@functools.cache
def ours_on_sqlite() -> Peer:
    """Its server name has a host name: `localhost:PORT`. Each server has another host: server ACLs go by them."""
    return _running(OurPeer("ours-sqlite", "localhost", SqliteFile(), _directory(), run_authority()))


@functools.cache
def ours_on_postgres() -> Peer:
    """Its server name is an address with a port."""
    database = fresh_database()
    return _running(OurPeer("ours-postgres", "127.0.0.1", database, _directory(), run_authority()))


@functools.cache
def ours_on_ipv6() -> Peer:
    """Its server name is an address of version 6 with a port."""
    return _running(OurPeer("ours-ipv6", "[::1]", SqliteFile(), _directory(), run_authority()))


@functools.cache
def synapse() -> Peer:
    """Its server name is another address with a port. Raises SkipTest if it is not installed."""
    python = synapse_python()
    if not python.exists():
        raise SkipTest(f"{python} is missing: `make install-synapse` installs Synapse there.")
    return _running(SynapsePeer("synapse", "127.0.0.2", SqliteFile(), _directory(), run_authority(), python))


def fresh_database() -> PostgresArgs:
    """A database that goes when this process ends."""
    postgres = running_postgres("fast")
    if postgres.problem:
        raise AssertionError(postgres.problem)
    name = f"peer_{uuid.uuid4().hex}"
    postgres.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    return postgres.database(name)


def _running(peer: Peer) -> Peer:
    atexit.register(peer.kill9)
    peer.start()
    return peer


@functools.cache
def _directory() -> Path:
    """In trial's own directory, where logs can be read after the run."""
    return (Path.cwd() / "federation-peers").resolve()


@functools.cache
def run_authority() -> Authority:
    """Whom all the servers believe."""
    return Authority(_directory() / "authority")


def shown_log(peer: Peer) -> str:
    """The end of what a server logged, without what tests make it say."""
    lines = [line for line in peer.log_text().splitlines() if not any(noise in line for noise in NOISE)]
    shown = "\n".join(line[:500] for line in lines[-SHOWN_LOG_LINES:])
    return f"\n--- {peer.name} ({peer.server_name}) logged:\n{shown}"


def _difference(one: dict[tuple[str, str], str], other: dict[tuple[str, str], str]) -> str:
    keys = sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
    return f"different: {[(key, one.get(key), other.get(key)) for key in keys]}"
