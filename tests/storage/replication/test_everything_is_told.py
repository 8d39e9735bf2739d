"""What docs/replication.md calls replicated is so: tables have kinds of records, changes say what they touch."""

import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import storage
from storage.change import Change
from storage.replication.kinds.all_kinds import ALL_KINDS

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "replication.md"

KINDS = {
    "accounts": ("account", "account.password", "account.flag", "account.deactivated"),
    "devices": ("device", "device.name"),
    "sessions": ("session",),
    "profiles": ("profile",),
    "account_data": ("account_data",),
    "push_rules": ("push_rules",),
    "pushers": ("pusher",),
    "filters": ("filter",),
    "room_aliases": ("alias", "alias.room"),
    "removed_aliases": ("alias",),
    "published_rooms": ("published_room",),
    "media": ("media",),
    "deleted_media": ("media",),
    "duty_progress": ("duty.progress",),
    "site_key_signatures": ("site_key_signature",),
    "old_site_keys": ("old_site_key",),
    "stripped_states": ("outside_member",),
    "device_keys": ("device_keys",),
    "cross_signing_keys": ("cross_signing_keys",),
    "key_signatures": ("key_signature",),
    "one_time_keys": ("one_time_key",),
    "claimed_keys": ("one_time_key",),
    "fallback_keys": ("fallback_key", "fallback_key.used"),
    "key_backups": ("key_backup",),
    "key_backup_sessions": ("key_backup.session",),
    "to_device_inbox": ("to_device",),
    "to_device_shared": ("to_device",),
    "to_device_delivered": ("to_device.delivered",),
    "federation_lags": ("federation_lag",),
    "federation_overlooked": ("federation_overlooked",),
    "federation_to_device": ("to_device_remote",),
    "device_list_updates": ("device_list_update",),
    "federation_to_device_delivered": ("to_device_remote.delivered",),
    "receipts": ("receipt",),
    "transactions": ("transaction",),
    "login_bans": ("login_ban",),
    "login_failures": ("login_failure",),
    "login_tokens": ("login_token",),
    "openid_tokens": ("openid_token",),
    "registration_tokens": ("registration_token", "registration_token.uses"),
    "registration_token_uses": ("registration_token.uses",),
    "received_transactions": ("received_transaction",),
    "received_to_device": ("to_device_received",),
    "remote_device_lists": ("remote_devices",),
    "remote_devices": ("remote_devices",),
    "reports": ("report",),
    "presence": ("presence",),
    "typing": ("typing",),
}
"""By table, the kinds of records that carry it."""

NOT_AS_RECORDS = {
    "rooms": "made where an event of the room arrives",
    "events": "travel as themselves (federation/sites/read_batch.py)",
    "server_keys": "every site can ask again",
    "server_key_documents": "every site can ask again",
    "duty_decisions": "sites ask each other directly",
    "duty_voters": "sites ask each other directly",
    "federation_sender": "goes with the duty",
    "federation_lagging": "goes with the duty: a new holder makes its own from federation_lags",
    "federation_behind": "goes with the duty",
}

KINDS_WITHOUT_TABLE = {
    "forget": "a column of memberships, which are derived",
    "forward": "an entry of the log",
}

TELL_NOTHING = {
    # What a merge gives has its version noted with it. Those called Merge... are meant too.
    "AccountLost": "given by a merge",
    "CountTokenUses": "given by a merge",
    "HoldPeerKey": "given by a merge",
    "RememberClaim": "given by a merge",
    "PeerTyping": "given by a merge",
    "WipeUser": "given by a merge",
    "SupersededSend": "given by a merge, for the site that has to act",
    # Rooms.
    "StoreEvent": "events travel as themselves",
    "AddRoom": "made where an event of the room arrives",
    "PruneEvent": "each site prunes by itself, after the same time",
    "IndexAuthChains": "derived from events",
    "AwaitRedacted": "derived from events",
    "AddGap": "of this site's copy of the room",
    "LoseSites": "each site has its own configuration",
    "CloseGap": "of this site's copy of the room",
    "StagePdu": "of this site's work",
    "UnstagePdu": "of this site's work",
    "ExpectMembership": "writes nothing",
    # Derived or local.
    "DeviceListChanged": "derived from keys",
    "SeeDevice": "of what this site saw",
    "IndexUser": "derived",
    "SetOpenRoom": "derived",
    "MoveCursor": "of this site's log",
    "SortToDevice": "only where there is one site",
    "RecordsTouched": "only an entry of the log",
    "ReserveRegistrationToken": "a registration goes on where it began",
    "RemoveToDeviceMessages": "goes with the device, whose deletion is told",
    "DropReceived": "each site forgets by itself",
    "DropTransactions": "each site forgets by itself",
    "ForgetReceived": "each site forgets by itself",
    "ForgetKeySignatures": "each site forgets by itself",
    "StoreServerKeys": "every site can ask again",
    "DestinationBack": "whom this site can reach",
    "DestinationFailed": "whom this site can reach",
    "ForgetDestinations": "whom this site can reach",
    # Media files and caches.
    "AddThumbnail": "derived",
    "StoreRemoteMedia": "a cache",
    "DeleteUnusedRemoteMedia": "a cache",
    "ForgetRemoteFile": "a cache",
    "NoteMediaUse": "told when it matters: with the deletion of what is unused",
    "ForgetDroppedFiles": "of this site's media store",
    "HaveMediaFile": "of this site's media store",
    "MissMediaFile": "of this site's media store",
    "MissNothingForLong": "of this site's media store",
    # Sending, which goes with the duty.
    "TakeOver": "of the sender",
    "HoldDuty": "of the sender",
    "FallBehind": "of the sender",
    "CaughtUp": "of the sender",
    "SentLatest": "of the sender",
    "RefusedLatest": "of the sender",
    "PauseSending": "of the sender",
    "ForgetDestination": "of the sender",
    # Links and duties.
    "StoreDecision": "sites ask each other directly",
    "StoreVote": "a vote is a site's own",
    "TakeDutyOver": "of this site",
    "StoreVoters": "sites ask each other directly",
    "SeePeerLog": "each site sees for itself",
    "MoveSiteCursor": "of this site's links",
    "NotePeerKnows": "of this site's links",
    "ShareLog": "of this site's links",
    "ThinSiteMarks": "of this site's links",
    "ForgetTold": "all have heard of it",
    "HoldRecord": "of this site: the others have it",
    "ReleaseRecord": "of this site: what it is released for is told",
    "HoldEvent": "of this site: the others have it",
    "PostponeEvent": "of this site",
    "ReleaseEvent": "of this site: the event is told",
}

_ROW = re.compile(r"^\| ([a-z_, ]+) \|[^|]*\| ([^|]*) \|$", re.M)


def _subclasses(of: type[Change]) -> Iterator[type[Change]]:
    for one in of.__subclasses__():
        # Tests have changes of their own.
        if one.__module__.startswith("storage."):
            yield one
        yield from _subclasses(one)


class EverythingIsToldTests(SynchronousTestCase):
    def test_each_replicated_table_has_kinds_of_records(self) -> None:
        text = DOCUMENT.read_text().partition("## The tables")[2].partition("\n## ")[0]
        replicated = {
            table
            for tables, rule in _ROW.findall(text)
            for table in tables.split(", ")
            if table != "table" and not rule.startswith(("local", "derived"))
        }
        self.assertEqual(sorted(replicated), sorted((*KINDS, *NOT_AS_RECORDS)))

    def test_each_kind_of_record_carries_something(self) -> None:
        carried = {name for names in KINDS.values() for name in names} | KINDS_WITHOUT_TABLE.keys()
        self.assertEqual(sorted(kind.name for kind in ALL_KINDS), sorted(carried))

    def test_each_change_says_which_records_it_touches_or_why_none(self) -> None:
        for module in pkgutil.walk_packages(storage.__path__, "storage."):
            if not module.name.startswith("storage.migrations"):
                import_module(module.name)
        silent = {
            one.__name__
            for one in _subclasses(Change)
            if one.records is Change.records and not one.__name__.startswith("Merge")
        }
        self.assertEqual(sorted(silent), sorted(TELL_NOTHING))
