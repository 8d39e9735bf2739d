"""Messages for several devices on the only site: first a row for each, then one in the inbox of who has not got it yet.

Most devices are there, and have a message at once. One row in the inbox of each recipient, which stand all over its
index, costs many times what the message itself does; those who are away get theirs some seconds later, with all that
came for them meanwhile. What a crash leaves behind is sorted at the next start, before anything reads an inbox.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

from storage.change import Change
from storage.database import Database, WriteTransaction
from storage.to_device import Device, SendToDevice, ToDeviceMessage, put_into_inboxes, without_gone
from storage.to_device_unsorted import UnsortedEvent, is_any_unsorted, take_unsorted, write_unsorted
from synapse_like_config.lazy_dataclasses import dataclass

_EVERYTHING = 2**62


@dataclass(frozen=True, slots=True)
class SendUnsorted(SendToDevice):
    """The same on the only site. Until the messages are sorted, no inbox has them."""

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> list[object]:
        _, present = without_gone(tx, changes)
        write_unsorted(
            tx,
            [
                UnsortedEvent(position, number, message.event, message.recipients)
                for position, change in present
                for number, message in enumerate(change.messages)
            ],
        )
        # Nobody else is told of them.
        return [()] * len(changes)


def send_on_only_site(messages: Sequence[ToDeviceMessage], known_at: int | None = None) -> list[SendToDevice]:
    """The changes that send one request's messages; `known_at` as in `SendToDevice`."""
    # What is for one device alone would be written twice, to save one row.
    alone = tuple(message for message in messages if len(message.recipients) == 1)
    shared = tuple(message for message in messages if len(message.recipients) > 1)
    changes: list[SendToDevice] = []
    if alone:
        changes.append(SendToDevice(alone, known_at))
    if shared:
        changes.append(SendUnsorted(shared, known_at))
    return changes


def send_on_several_sites(
    messages: Sequence[ToDeviceMessage], known_at: int | None = None
) -> list[SendToDevice]:
    """The same for a site that has peers."""
    return [SendToDevice(tuple(messages), known_at)]


@dataclass(frozen=True, slots=True)
class SortToDevice(Change):
    """Put all unsorted messages up to a position into the inboxes of devices that have not got them."""

    kind: ClassVar[str] = "to_device_sorted"
    area: ClassVar[str] = "to_device"
    logged: ClassVar[bool] = False

    upto: int
    delivered: tuple[tuple[Device, int], ...] = ()
    """Up to which position devices have all their messages."""

    @classmethod
    def write(cls, tx: WriteTransaction, changes: Sequence[tuple[int, Self]]) -> list[bool]:
        """Whether there are any of them in inboxes now."""
        return [_sort(tx, change.upto, dict(change.delivered)) for _, change in changes]


def _sort(tx: WriteTransaction, upto: int, delivered: Mapping[Device, int]) -> bool:
    sent = []
    for each in take_unsorted(tx, upto):
        waiting = [device for device in each.recipients if delivered.get(device, 0) < each.position]
        if waiting:
            sent.append((each.position, ToDeviceMessage(each.event, tuple(waiting))))
    put_into_inboxes(tx, _by_position(sent))
    return bool(sent)


def _by_position(
    sent: Sequence[tuple[int, ToDeviceMessage]],
) -> list[tuple[int, Sequence[ToDeviceMessage]]]:
    requests: dict[int, list[ToDeviceMessage]] = {}
    for position, message in sent:
        requests.setdefault(position, []).append(message)
    return list(requests.items())


def sort_leftover(database: Database) -> None:
    """For the start: sort what the last process did not."""
    if database.read_now(is_any_unsorted):
        database.write_now(lambda tx: _sort(tx, _EVERYTHING, {}))
