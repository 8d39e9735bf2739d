"""What was taken from other servers, so that it is taken once, and what users reported: all of it only grows."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from storage.database import Transaction
from storage.device_lists import DeviceListChanged
from storage.received_transactions import ReceivedTransactionsRepository
from storage.received_transactions import RecordReceived as RecordReceivedTransaction
from storage.remote_devices import (
    REMOTE_DEVICES,
    DistrustRemoteDevices,
    MergeReceived,
    RecordReceived,
    RemoteDevicesRepository,
    find_received_ms,
)
from storage.replication.own_site import find_own_log
from storage.replication.record import Key, Record, Taken, Version
from storage.reports import REPORT, MakeReport, MergeReport, ReportKind, ReportsRepository


class ReceivedTransactionKind:
    """The answer to another server's transaction."""

    name: Final = RecordReceivedTransaction.kind
    is_of_user: Final = False

    def read(self, tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
        found = {key: ReceivedTransactionsRepository().find(tx, *key) for key in keys}
        return {
            key: {"answer": row[0].decode(), "at_ms": row[1]} for key, row in found.items() if row is not None
        }

    def merge(self, tx: Transaction, record: Record, present: Version | None) -> Taken | None:
        value = record.value
        if value is None or present is not None:
            return None
        origin, txn_id = record.key
        received = RecordReceivedTransaction(origin, txn_id, value["answer"].encode(), value["at_ms"])
        return Taken((received,))


class ReceivedMessageKind:
    """The ID of a message to devices that another server sent."""

    name: Final = RecordReceived.kind
    is_of_user: Final = False

    def read(self, tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
        found = {key: find_received_ms(tx, *key) for key in keys}
        return {key: at_ms for key, at_ms in found.items() if at_ms is not None}

    def merge(self, tx: Transaction, record: Record, present: Version | None) -> Taken | None:
        if record.value is None or present is not None:
            return None
        origin, message_id = record.key
        return Taken((MergeReceived(origin, message_id, record.value),))


class ReportRecordKind:
    """What a user reported to the administrators, named by the log of the site that took it and its position there."""

    name: Final = REPORT
    is_of_user: Final = False

    def read(self, tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
        found = {key: ReportsRepository().find(tx, key[0], int(key[1])) for key in keys}
        return {
            key: {
                "about": int(row.about),
                "made_ms": row.made_ms,
                "reporter": row.reporter,
                "room_id": row.room_id,
                "event_id": row.event_id,
                "user_id": row.user_id,
                "reason": row.reason,
                "score": row.score,
            }
            for key, row in found.items()
            if row is not None
        }

    def merge(self, tx: Transaction, record: Record, present: Version | None) -> Taken | None:
        value = record.value
        log, position = record.key
        if value is None or present is not None or log == find_own_log(tx):
            return None
        report = MakeReport(
            ReportKind(value["about"]),
            value["made_ms"],
            value["reporter"],
            value["room_id"],
            value["event_id"],
            value["user_id"],
            value["reason"],
            value["score"],
        )
        return Taken((MergeReport(report, log, int(position)),))


class RemoteDevicesKind:
    """How much one site knows of the devices of another server's user: whoever knows less asks that server again."""

    name: Final = REMOTE_DEVICES
    is_of_user: Final = False

    def read(self, tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
        found = {key: RemoteDevicesRepository().find_state(tx, key[0]) for key in keys}
        return {key: {"stream_id": row[0], "stale": row[1]} for key, row in found.items() if row is not None}

    def merge(self, tx: Transaction, record: Record, present: Version | None) -> Taken | None:
        value = record.value
        if value is None or (present is not None and present >= record.version):
            return None
        user_id = record.key[0]
        ours = RemoteDevicesRepository().find_state(tx, user_id)
        # With the same list there is nothing new; but if the other site was told that it is not true, nor is ours.
        if ours == (value["stream_id"], value["stale"]) or (
            ours is not None and ours[0] > value["stream_id"]
        ):
            return Taken(())
        # Clients hear of it also if nothing is known here: they may have asked while it was.
        return Taken((DistrustRemoteDevices((user_id,)), DeviceListChanged(user_id)))


RECEIVED: Final = (
    RemoteDevicesKind(),
    ReceivedTransactionKind(),
    ReceivedMessageKind(),
    ReportRecordKind(),
)
