"""What people see when one of two sites burns: both on this machine, a load, a loss, and the site built again.

    python -m benchmarks.demo_sites [--people N] [--seconds N]

Everything is in a temporary directory, on SQLite; nothing is left afterwards.
"""

import argparse
import http.client
import json
import random
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

from tests.integration.sites.sites import TwoSites
from tests.support.configuration import SqliteFile

SITES: Final = ("anna", "berta")
CLIENT: Final = "/_matrix/client/v3"
ANSWER_S: Final = 10.0
PAUSE_S: Final = 0.2
CATCH_UP_S: Final = 60.0
FALL_BACK_S: Final = 5.0


class NoAnswer(Exception):
    """The site is gone."""


class Person:
    """Somebody with one account and one access token, who calls whichever site answers."""

    def __init__(self, token: str = "") -> None:
        self.token = token

    def ask(self, url: str, method: str, path: str, body: Any = None) -> Mapping[str, Any]:
        """Raises `NoAnswer`; RuntimeError if the site refuses."""
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        data = None if body is None else json.dumps(body)
        with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=ANSWER_S)) as connection:
            try:
                connection.request(method, CLIENT + path, data, headers)
                response = connection.getresponse()
                answer: dict[str, Any] = json.loads(response.read())
            except (OSError, http.client.HTTPException) as error:
                raise NoAnswer(str(error)) from error
        if response.status >= 500:
            raise NoAnswer(f"{response.status}")
        if response.status != 200 and "session" not in answer:
            raise RuntimeError(f"{method} {path} was answered {response.status}: {answer}")
        return answer

    def register(self, url: str, name: str) -> None:
        body: dict[str, Any] = {"username": name, "password": "correct horse battery"}
        session = self.ask(url, "POST", "/register", body)["session"]
        body["auth"] = {"type": "m.login.dummy", "session": session}
        self.token = self.ask(url, "POST", "/register", body)["access_token"]


@dataclass
class Tally:
    """What was answered, by message: by which site, when, and after how long."""

    sites: dict[str, str] = field(default_factory=dict)
    event_ids: dict[str, str] = field(default_factory=dict)
    times: list[tuple[float, str, float]] = field(default_factory=list)
    """(time of the answer, site, seconds it took with every retry)"""
    retries: int = 0


class Demo:
    def __init__(self, directory: Path, people: int) -> None:
        self._sites = TwoSites(directory, (SqliteFile(), SqliteFile()), "site")
        self._people = [Person() for _ in range(people)]
        self._tally = Tally()
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._urls: dict[str, str] = {}
        self._room_id = ""
        self._begun_s = time.monotonic()

    def run(self, seconds: float) -> None:
        """Raises AssertionError if a site does not do what is promised."""
        threads = [
            threading.Thread(target=self._write, args=(number,), daemon=True)
            for number in range(len(self._people))
        ]
        try:
            self._start()
            for thread in threads:
                thread.start()
            self._watch(seconds)
            lost_s, answered = self._lose()
            # The other site waits for this one before it answers without it.
            self._watch(max(seconds, FALL_BACK_S))
            self._tell_loss(lost_s, answered)
            self._rebuild()
            self._watch(seconds)
            self._is_over.set()
            for thread in threads:
                thread.join()
            self._compare()
        finally:
            self._is_over.set()
            self._sites.kill9()

    def _say(self, text: str) -> None:
        print(f"{time.monotonic() - self._begun_s:6.1f} s  {text}", flush=True)

    def _start(self) -> None:
        self._say(
            "Starting two sites of one organisation, `anna` and `berta`: one server name, two databases."
        )
        self._sites.start()
        self._urls = {site: self._sites.url(site) for site in SITES}
        for site in SITES:
            self._say(f"  {site}: {self._urls[site]}")
        for number, person in enumerate(self._people):
            person.register(self._urls["anna"], f"person{number}")
        first = self._people[0]
        self._room_id = str(
            first.ask(self._urls["anna"], "POST", "/createRoom", {"preset": "public_chat"})["room_id"]
        )
        for person in self._people[1:]:
            person.ask(self._urls["anna"], "POST", f"/join/{quote(self._room_id)}", {})
        self._wait(self._has_everybody)
        self._say(
            f"{len(self._people)} people registered at anna, and are at berta too. They write through both,"
        )
        self._say(
            "each to whichever site comes first; an answer means that both sites have the message on disk."
        )

    def _has_everybody(self) -> bool:
        try:
            path = f"/rooms/{quote(self._room_id)}/joined_members"
            joined = self._people[0].ask(self._urls["berta"], "GET", path)["joined"]
        except (NoAnswer, RuntimeError):
            return False
        return len(joined) == len(self._people)

    def _wait(self, condition: Any) -> None:
        until_s = time.monotonic() + CATCH_UP_S
        while not condition():
            if time.monotonic() > until_s:
                raise AssertionError("the sites do not catch up with each other")
            time.sleep(0.1)

    def _write(self, number: int) -> None:
        chance = random.Random(number)  # noqa: S311
        count = 0
        while not self._is_over.wait(PAUSE_S * 2 * chance.random()):
            self._send(self._people[number], f"{number}-{count}", chance)
            count += 1

    def _send(self, person: Person, message: str, chance: random.Random) -> None:
        """As a client does that finds a site gone: the same again, at the other one."""
        path = f"/rooms/{quote(self._room_id)}/send/m.room.message/{message}"
        begun_s = time.monotonic()
        site = chance.choice(SITES)
        while True:
            try:
                answer = person.ask(self._urls[site], "PUT", path, {"msgtype": "m.text", "body": message})
                break
            except NoAnswer:
                site = SITES[1 - SITES.index(site)]
                with self._lock:
                    self._tally.retries += 1
                time.sleep(0.05)
        now_s = time.monotonic()
        with self._lock:
            self._tally.sites[message] = site
            self._tally.event_ids[message] = str(answer["event_id"])
            self._tally.times.append((now_s, site, now_s - begun_s))

    def _watch(self, seconds: float) -> None:
        """A line for each second."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            since_s = time.monotonic()
            time.sleep(1)
            with self._lock:
                recent = [each for each in self._tally.times if each[0] >= since_s]
            by_site = {site: sum(1 for each in recent if each[1] == site) for site in SITES}
            slowest = max((each[2] for each in recent), default=0.0)
            shown = "   ".join(f"{site}: {count:3d} answers" for site, count in by_site.items())
            self._say(f"{shown}   slowest {1000 * slowest:5.0f} ms")

    def _lose(self) -> tuple[float, dict[str, str]]:
        with self._lock:
            answered = dict(self._tally.event_ids)
        lost_s = time.monotonic()
        self._sites.lose("anna")
        self._say("*** anna burns: kill -9, and its database, media and keys are deleted. ***")
        return lost_s, answered

    def _tell_loss(self, lost_s: float, answered: Mapping[str, str]) -> None:
        with self._lock:
            after = [each for each in self._tally.times if each[0] > lost_s]
            retries = self._tally.retries
        found = dict(self._texts("berta"))
        missing = [message for message, event_id in answered.items() if found.get(message) != event_id]
        first_s = min(each[0] for each in after) - lost_s
        self._say(
            f"The first answer came {first_s:.2f} s after the loss,"
            f" the slowest took {max(each[2] for each in after):.2f} s."
        )
        self._say(f"People's clients tried again {retries} times, at berta; nobody logged in again.")
        self._say(
            f"{len(answered)} messages had been answered before. At berta are {len(answered) - len(missing)} of them."
        )
        if missing:
            raise AssertionError(f"lost: {missing}")

    def _rebuild(self) -> None:
        self._say(
            "Building anna again from nothing, while people write: `popcube-server site join --from berta`."
        )
        begun_s = time.monotonic()
        self._sites.rebuild("anna", "berta", SqliteFile())
        self._sites.processes["anna"].start()
        self._urls["anna"] = self._sites.url("anna")
        self._say(f"anna is back after {time.monotonic() - begun_s:.1f} s.")

    def _compare(self) -> None:
        self._wait(lambda: set(self._texts("anna")) == set(self._texts("berta")))
        found = list(self._texts("anna"))
        missing = set(self._tally.event_ids.items()) - set(found)
        self._say(
            f"Both sites show the same {len(found)} messages; {len(self._tally.event_ids)} had been answered."
        )
        if missing or len(found) != len(dict(found)):
            raise AssertionError(f"missing {missing}, or there twice")
        self._say("Every answered message is there, once.")

    def _texts(self, site: str) -> Iterator[tuple[str, str]]:
        """(text, event ID) of all messages that a site has."""
        token = ""
        while True:
            path = f"/rooms/{quote(self._room_id)}/messages?dir=b&limit=500{token}"
            page = self._people[0].ask(self._urls[site], "GET", path)
            for event in page["chunk"]:
                if event["type"] == "m.room.message":
                    yield event["content"]["body"], event["event_id"]
            if "end" not in page:
                return
            token = f"&from={quote(page['end'])}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--people", type=int, default=6, help="who write all the time")
    parser.add_argument("--seconds", type=float, default=6, help="of each part")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="popcube-sites-") as directory:
        Demo(Path(directory) / "sites", options.people).run(options.seconds)


if __name__ == "__main__":
    main()
