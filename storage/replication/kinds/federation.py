"""What one site does with other servers and all must know: invites, knocks and their ends outside of rooms that the
sites have, events that are to be passed on, and what was told of devices.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from storage.change import Change
from storage.database import Transaction
from storage.device_list_updates import DeviceListUpdatesRepository, MergeDeviceUpdate, NoteDeviceChange
from storage.event_rows import EventRow, EventsRepository
from storage.events import OUTLIER, StoreEvent
from storage.forwarded_events import ForwardEvent
from storage.memberships import MembershipChange, MembershipsRepository
from storage.replication.record import Key, Record, Taken, Version
from storage.rooms import AddRoom, RoomsRepository
from storage.stripped_states import OUTSIDE_MEMBER, DropStripped, KeepStripped, StrippedStatesRepository

_SHOWN: Final = ("invite", "knock")


class OutsideMemberKind:
    """How a user stands in a room that the server is not in: the last one that says something is right.

    Once the server is in the room, the room says how the user stands, and nothing is told here.
    """

    name: Final = OUTSIDE_MEMBER
    is_of_user: Final = True

    def read(self, tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
        values = {key: _read(tx, *key) for key in keys}
        return {key: value for key, value in values.items() if value is not None}

    def merge(self, tx: Transaction, record: Record, present: Version | None) -> Taken | None:
        if present is not None and present >= record.version:
            return None
        user_id, room_id = record.key
        if record.value is None or _is_in_room(tx, user_id, room_id):
            return Taken(())
        return Taken(tuple(_changes(tx, user_id, room_id, record.value)))


def _read(tx: Transaction, user_id: str, room_id: str) -> Any:
    row = MembershipsRepository().find(tx, room_id, user_id)
    event = None if row is None else _find_event(tx, row.event_nid)
    if row is None or event is None or not event.flags & OUTLIER:
        return None
    shown = StrippedStatesRepository().find(tx, user_id, room_id)
    return {
        "event_id": event.event_id,
        "membership": row.membership,
        "pdu": orjson.loads(event.json),
        "room_version": event.room_version,
        "stripped": [] if shown is None else [orjson.loads(entry) for entry in shown.entries],
        "servers": [] if shown is None else list(shown.servers),
    }


def _find_event(tx: Transaction, nid: int) -> EventRow | None:
    found = EventsRepository().get_by_nid(tx, (nid,))
    return found[0] if found else None


def _is_in_room(tx: Transaction, user_id: str, room_id: str) -> bool:
    row = MembershipsRepository().find(tx, room_id, user_id)
    if row is None or row.membership not in (*_SHOWN, "join"):
        return False
    event = _find_event(tx, row.event_nid)
    return event is not None and not event.flags & OUTLIER


def _changes(tx: Transaction, user_id: str, room_id: str, value: Mapping[str, Any]) -> list[Change]:
    changes: list[Change] = []
    if RoomsRepository().find(tx, room_id) is None:
        changes.append(AddRoom(room_id, value["room_version"]))
    event_id, membership = value["event_id"], value["membership"]
    if not EventsRepository().get_by_id(tx, (event_id,)):
        changes.append(_member_outlier(user_id, room_id, event_id, membership, value["pdu"]))
    if membership in _SHOWN:
        entries = tuple(orjson.dumps(entry) for entry in value["stripped"])
        changes.append(KeepStripped(user_id, room_id, entries, tuple(value["servers"])))
    else:
        changes.append(DropStripped(user_id, room_id))
    return changes


def _member_outlier(
    user_id: str, room_id: str, event_id: str, membership: str, pdu: Mapping[str, Any]
) -> StoreEvent:
    return StoreEvent(
        room_id=room_id,
        event_id=event_id,
        type=pdu["type"],
        sender=pdu["sender"],
        state_key=user_id,
        json=orjson.dumps(pdu, option=orjson.OPT_SORT_KEYS),
        snapshot=None,
        flags=OUTLIER,
        memberships=(MembershipChange(user_id, membership, event_id),),
        origin_server_ts=pdu["origin_server_ts"],
    )


class ForwardKind:
    """An event that is to be passed on: by whichever site sends to other servers."""

    name: Final = ForwardEvent.kind
    is_of_user: Final = False

    def read(self, tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
        return dict.fromkeys(keys, True)

    def merge(self, tx: Transaction, record: Record, present: Version | None) -> Taken | None:
        return Taken((ForwardEvent(*record.key),)) if present is None else None


class DeviceUpdateKind:
    """What others were told of a device: the highest stream ID is the last one."""

    name: Final = NoteDeviceChange.kind
    is_of_user: Final = True

    def read(self, tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
        found = {key: DeviceListUpdatesRepository().find_device_update(tx, *key) for key in keys}
        return {
            key: {"stream_id": update.stream_id, "previous": update.previous}
            for key, update in found.items()
            if update is not None
        }

    def merge(self, tx: Transaction, record: Record, present: Version | None) -> Taken | None:
        user_id, device_id = record.key
        known = DeviceListUpdatesRepository().find_device_update(tx, user_id, device_id)
        value = record.value
        if value is None or (known is not None and known.stream_id >= value["stream_id"]):
            return None
        return Taken((MergeDeviceUpdate(user_id, device_id, value["stream_id"], value["previous"]),))


OUTSIDE: Final = (OutsideMemberKind(), ForwardKind(), DeviceUpdateKind())
