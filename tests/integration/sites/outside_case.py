"""The base of tests with two sites and a Synapse: users at either site, and what is checked after each test."""

import functools
import http.client
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final
from urllib.parse import quote

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.integration.federation.pairs import join_at_last, shown_log
from tests.integration.federation.peers import Peer, User, eventually
from tests.integration.federation.test_restarts import said
from tests.integration.sites.outside import Outside, at, outside
from tests.integration.sites.watch import Transaction, side_by_side

PAUSE_S: Final = 0.05
"""Between two messages of somebody who talks."""
FOREVER: Final = 10_000


class OutsideCase(SynchronousTestCase):
    """Whatever a test does, two transactions are never under way to Synapse at once."""

    def find_outside(self) -> Outside:
        return outside()

    def setUp(self) -> None:
        super().setUp()
        self.all = self.find_outside()
        self.anna: Peer = self.all.peers["anna"]
        self.berta: Peer = self.all.peers["berta"]
        self.synapse, self.front, self.sites = self.all.synapse, self.all.front, self.all.sites
        self.seen_before = len(self.synapse.watch.transactions)
        self.addCleanup(self.check_one_at_a_time)
        setattr(self, self._testMethodName, self._with_logs(getattr(self, self._testMethodName)))

    def _with_logs(self, test: Callable[[], None]) -> Callable[[], None]:
        @functools.wraps(test)
        def wrapped() -> None:
            try:
                test()
            except SkipTest:
                raise
            except Exception as error:
                logs = "".join(shown_log(peer) for peer in (self.anna, self.berta, self.synapse))
                error.args = (f"{error}{logs}",)
                raise

        return wrapped

    def transactions(self) -> Sequence[Transaction]:
        """Of this test."""
        return self.synapse.watch.transactions[self.seen_before :]

    def check_one_at_a_time(self) -> None:
        pairs = [
            (one.site, one.txn_id, other.site, other.txn_id)
            for one, other in side_by_side(self.transactions())
        ]
        self.assertEqual(pairs, [], "two transactions at once")

    def given_user(self, peer: Peer, localpart: str) -> User:
        """Known at both sites, if it is a user of ours."""
        user = peer.register(localpart)
        if peer is not self.synapse:
            for site in (self.anna, self.berta):
                self.wait_for_session(at(site, user))
        return user

    def wait_for_session(self, user: User) -> None:
        eventually(lambda: user.call("GET", "/account/whoami").status == 200, f"{user.user_id} there")

    def other(self, peer: Peer) -> Peer:
        return self.berta if peer is self.anna else self.anna

    def given_room_of_all(self, alice: User, bea: User, sam: User) -> str:
        """Made by Alice on a site, joined by Bea through the other one, and by Sam on Synapse."""
        room_id = alice.create_room(preset="public_chat")
        eventually(lambda: bea.join(room_id), "the room is at the other site")
        join_at_last(sam, room_id, self.all.server_name)
        self.settle(room_id, alice, bea, sam)
        return room_id

    def settle(self, room_id: str, *users: User) -> None:
        """Wait until all see the same state and the same members."""

        def same() -> bool:
            first = users[0].state(room_id)
            for user in users[1:]:
                one = user.state(room_id)
                different = {
                    key: (first.get(key), one.get(key))
                    for key in first.keys() | one.keys()
                    if first.get(key) != one.get(key)
                }
                assert not different, f"{user.user_id} on {user.peer.name}: {different}"
            members = [members_of(user, room_id) for user in users]
            assert all(each == members[0] for each in members), members
            return True

        eventually(same, f"the same state for {[(user.user_id, user.peer.name) for user in users]}")

    def check_texts(self, users: Sequence[User], room_id: str, texts: Sequence[str]) -> None:
        """Each once in everybody's history."""
        for user in users:
            eventually(lambda: has_said(user, room_id, texts), f"every text once on {user.peer.name}")  # noqa: B023


class Talking:
    """A user who sends texts in a thread of its own, each until it is answered, until there is enough."""

    def __init__(self, user: User, room_id: str, prefix: str, count: int = FOREVER) -> None:
        self.texts: list[str] = []
        """What was answered."""
        self._user = user.another_connection()
        self._room_id = room_id
        self._prefix = prefix
        self._count = count
        self._is_over = False
        self._thread = ThreadPoolExecutor(1)
        self._talking: Future[None]

    def __enter__(self) -> "Talking":
        self._talking = self._thread.submit(self._talk)
        return self

    def __exit__(self, problem: object, *_: object) -> None:
        self._is_over = self._count == FOREVER or problem is not None
        self._thread.shutdown()
        if problem is None:
            self._talking.result()

    def wait_for(self, count: int) -> None:
        """Until so many more were sent."""
        wanted = len(self.texts) + count
        eventually(lambda: len(self.texts) >= wanted or self._talking.done(), f"{count} texts are sent")

    def _talk(self) -> None:
        for number in range(self._count):
            if self._is_over:
                return
            text = f"{self._prefix} {number}"
            path = f"/rooms/{quote(self._room_id)}/send/m.room.message/{uuid.uuid4().hex}"
            eventually(lambda: self._try(path, text), f"{text!r} is taken")  # noqa: B023
            time.sleep(PAUSE_S)

    def _try(self, path: str, text: str) -> bool:
        try:
            self._user.put(path, {"msgtype": "m.text", "body": text})
        except (OSError, http.client.HTTPException):
            # The site is gone: whether it took it, it cannot say.
            return False
        self.texts.append(text)
        return True


def members_of(user: User, room_id: str) -> frozenset[str]:
    return frozenset(user.get(f"/rooms/{quote(room_id)}/joined_members")["joined"])


def has_said(user: User, room_id: str, texts: Sequence[str]) -> bool:
    found = Counter(said(user, room_id))
    wanted = Counter(texts)
    assert found == wanted, f"missing {wanted - found}, too many {found - wanted}"
    return True
