"""Clients of two sites at once, and a ledger of what was answered.

A message is its transaction ID, which is its text too, so that whoever reads the rooms sees what became of it.
"""

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import aiohttp

ANSWER_DEADLINE_S: Final = 30.0
RETRY_AFTER_S: Final = 0.1


@dataclass(frozen=True)
class Answered:
    """A message that a site has confirmed."""

    room_id: str
    event_id: str
    site: str
    asked_s: float
    answered_s: float


@dataclass
class Ledger:
    """What the clients know. Times are of `time.monotonic`."""

    sent: dict[str, str] = field(default_factory=dict)
    """Every message, with its room."""
    answered: dict[str, Answered] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    """The sender was no member at that moment."""


@dataclass(frozen=True)
class Writer:
    """A user, who has the same token everywhere."""

    user_id: str
    token: str


class Load:
    """Writers that send one message after another, each to any site, until they are told to stop."""

    def __init__(
        self,
        find_url: Callable[[str], str],
        choose_site: Callable[[random.Random], str],
        rooms: Sequence[str],
        ledger: Ledger,
        pause_s: float = 0.0,
        changes_of_state: float = 0.0,
    ) -> None:
        """`pause_s` lies between two messages of a writer; `changes_of_state` is how many of them are topics."""
        self._find_url = find_url
        self._choose_site = choose_site
        self._rooms = rooms
        self._ledger = ledger
        self._pause_s = pause_s
        self._changes_of_state = changes_of_state
        self._is_over = False

    def stop(self) -> None:
        """What is under way is still brought to an end."""
        self._is_over = True

    async def run(self, writers: Sequence[Writer], name: str = "m") -> None:
        """`name` tells the messages of several runs apart."""
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=ANSWER_DEADLINE_S)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            await asyncio.gather(
                *(self._write(session, writer, f"{name}-{number}") for number, writer in enumerate(writers))
            )

    async def _write(self, session: aiohttp.ClientSession, writer: Writer, name: str) -> None:
        chance = random.Random(name)
        number = 0
        while not self._is_over:
            message = f"{name}-{number}"
            number += 1
            room_id = chance.choice(self._rooms)
            if chance.random() < self._changes_of_state:
                await self._change_topic(session, writer, room_id, message, chance)
            else:
                await self._send(session, writer, room_id, message, chance)
            await asyncio.sleep(self._pause_s * 2 * chance.random())

    async def _send(
        self,
        session: aiohttp.ClientSession,
        writer: Writer,
        room_id: str,
        message: str,
        chance: random.Random,
    ) -> None:
        """Until some site has answered, as a client does: a site that is gone is tried no longer than it must be."""
        self._ledger.sent[message] = room_id
        path = f"/_matrix/client/v3/rooms/{quote(room_id)}/send/m.room.message/{quote(message)}"
        body = {"msgtype": "m.text", "body": message}
        asked_s = time.monotonic()
        while True:
            site = self._choose_site(chance)
            try:
                status, answer = await self._put(session, site, writer, path, body)
            except (aiohttp.ClientError, TimeoutError):
                await asyncio.sleep(RETRY_AFTER_S)
                continue
            if status == 200:
                event_id = answer["event_id"]
                self._ledger.answered[message] = Answered(room_id, event_id, site, asked_s, time.monotonic())
                return
            if status == 403:
                self._ledger.refused.add(message)
                return
            if status < 500:
                raise AssertionError(f"{message} was answered {status} by {site}: {answer}")
            await asyncio.sleep(RETRY_AFTER_S)

    async def _change_topic(
        self,
        session: aiohttp.ClientSession,
        writer: Writer,
        room_id: str,
        topic: str,
        chance: random.Random,
    ) -> None:
        path = f"/_matrix/client/v3/rooms/{quote(room_id)}/state/m.room.topic"
        site = self._choose_site(chance)
        try:
            status, answer = await self._put(session, site, writer, path, {"topic": topic})
        except (aiohttp.ClientError, TimeoutError):
            return
        if status not in (200, 403, 503):
            raise AssertionError(f"a topic was answered {status} by {site}: {answer}")

    async def _put(
        self,
        session: aiohttp.ClientSession,
        site: str,
        writer: Writer,
        path: str,
        body: Mapping[str, Any],
    ) -> tuple[int, Mapping[str, Any]]:
        headers = {"Authorization": f"Bearer {writer.token}"}
        async with session.put(self._find_url(site) + path, json=body, headers=headers) as response:
            return response.status, await response.json()
