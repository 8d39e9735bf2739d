"""Event IDs and the numbers that tables have for them, with a bounded cache of both ways.

Threads share it: each step on the dictionaries is atomic. An event keeps its number for ever, so nothing becomes wrong.
"""

from collections.abc import Iterable

from storage.database import Transaction
from storage.events import find_event_ids, find_event_nids


class EventNumbers:
    def __init__(self, size: int) -> None:
        self._size = size
        self._numbers: dict[str, int] = {}
        self._ids: dict[int, str] = {}

    def find_numbers(self, tx: Transaction, event_ids: Iterable[str]) -> dict[str, int]:
        """Those of the events that are stored."""
        found, missing = {}, []
        for event_id in event_ids:
            number = self._numbers.get(event_id)
            if number is None:
                missing.append(event_id)
            else:
                found[event_id] = number
        if missing:
            # PostgreSQL's text cannot hold U+0000, so no event has such an ID.
            read = find_event_nids(tx, (event_id for event_id in missing if "\x00" not in event_id))
            self._keep(read.items())
            found.update(read)
        return found

    def find_ids(self, tx: Transaction, numbers: Iterable[int]) -> dict[int, str]:
        """Those of the numbers that are events."""
        found, missing = {}, []
        for number in numbers:
            event_id = self._ids.get(number)
            if event_id is None:
                missing.append(number)
            else:
                found[number] = event_id
        if missing:
            read = find_event_ids(tx, missing)
            self._keep((event_id, number) for number, event_id in read.items())
            found.update(read)
        return found

    def _keep(self, pairs: Iterable[tuple[str, int]]) -> None:
        for event_id, number in pairs:
            if len(self._ids) >= self._size:
                self._numbers, self._ids = {}, {}
            self._numbers[event_id] = number
            self._ids[number] = event_id
