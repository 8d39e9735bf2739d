"""Logins and registrations: failures and bans are maxima, tokens are used for good, uses are counted by site."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from storage.change import Change
from storage.database import Transaction
from storage.login_bans import (
    LOGIN_BAN,
    LOGIN_FAILURE,
    ForgetLoginFailures,
    LoginBan,
    LoginBansRepository,
    LoginFailures,
    MergeLoginBan,
    MergeLoginFailures,
)
from storage.login_tokens import LOGIN_TOKEN, LoginTokenRow, LoginTokensRepository, MergeLoginToken
from storage.openid import AddOpenIdToken, OpenIdRepository
from storage.registration_tokens import (
    REGISTRATION_TOKEN,
    TOKEN_USES,
    CountTokenUses,
    DeleteRegistrationToken,
    MergeRegistrationToken,
    RegistrationTokensRepository,
)
from storage.replication.kinds.last_writer import LastWriterKind
from storage.replication.own_site import find_own_log
from storage.replication.record import Combined, Key, Record, Taken, Version


class LoginBanKind:
    """Until when an address may not log in, and how long it will be the next time."""

    name: Final = LOGIN_BAN
    is_of_user: Final = False

    def read(self, tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
        found = {key: LoginBansRepository().find_ban(tx, key[0]) for key in keys}
        return {
            key: {"level": ban.level, "until_ms": ban.until_ms}
            for key, ban in found.items()
            if ban is not None
        }

    def merge(self, tx: Transaction, record: Record, present: Version | None) -> Taken | Combined | None:
        if record.value is None:
            return None
        theirs = LoginBan(record.value["level"], record.value["until_ms"])
        ours = LoginBansRepository().find_ban(tx, record.key[0]) or LoginBan(0, 0)
        merged = LoginBan(max(ours.level, theirs.level), max(ours.until_ms, theirs.until_ms))
        changes = (MergeLoginBan(record.key[0], merged),)
        return _outcome(changes, merged == ours, merged == theirs, present, record.version)


class LoginFailureKind:
    """What counts against an address, for one account: the larger number, until it is forgotten."""

    name: Final = LOGIN_FAILURE
    is_of_user: Final = False

    def read(self, tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
        found = {key: LoginBansRepository().find_failures(tx, *key) for key in keys}
        return {
            key: {"failures": each.failures, "last_ms": each.last_ms}
            for key, each in found.items()
            if each is not None
        }

    def merge(self, tx: Transaction, record: Record, present: Version | None) -> Taken | Combined | None:
        address, user_id = record.key
        is_newer = present is None or present < record.version
        ours = LoginBansRepository().find_failures(tx, address, user_id)
        if record.value is None:
            return Taken((ForgetLoginFailures(address, user_id),)) if is_newer else None
        theirs = LoginFailures(record.value["failures"], record.value["last_ms"])
        if ours is None:
            return Taken((MergeLoginFailures(address, user_id, theirs),)) if is_newer else None
        merged = LoginFailures(max(ours.failures, theirs.failures), max(ours.last_ms, theirs.last_ms))
        changes = (MergeLoginFailures(address, user_id, merged),)
        return _outcome(changes, merged == ours, merged == theirs, present, record.version)


def _outcome(
    changes: Sequence[Change], is_ours: bool, is_theirs: bool, present: Version | None, version: Version
) -> Taken | Combined | None:
    """Of a maximum: whether it is what is here, and whether it is what arrived."""
    is_newer = present is None or present < version
    if is_theirs:
        return Taken(changes) if is_newer else (None if is_ours else Combined(changes))
    # What arrived is behind, and its version must not stand for what is here.
    return (Combined(()) if is_newer else None) if is_ours else Combined(changes)


class LoginTokenKind:
    """A token that logs in one client, once."""

    name: Final = LOGIN_TOKEN
    is_of_user: Final = False

    def read(self, tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
        found = {key: LoginTokensRepository().find(tx, bytes.fromhex(key[0])) for key in keys}
        return {
            key: {"user_id": row.user_id, "expires_ms": row.expires_ms, "used": row.is_used}
            for key, row in found.items()
            if row is not None
        }

    def merge(self, tx: Transaction, record: Record, present: Version | None) -> Taken | None:
        value = record.value
        if value is None:
            return None
        digest = bytes.fromhex(record.key[0])
        theirs = LoginTokenRow(value["user_id"], value["expires_ms"], value["used"] is True)
        ours = LoginTokensRepository().find(tx, digest)
        if ours is not None and (ours.is_used or not theirs.is_used):
            return None
        return Taken((MergeLoginToken(digest, theirs),))


class OpenIdTokenKind:
    """A token by which a user proves to others who they are."""

    name: Final = AddOpenIdToken.kind
    is_of_user: Final = False

    def read(self, tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
        found = {key: OpenIdRepository().find(tx, bytes.fromhex(key[0])) for key in keys}
        return {
            key: {"user_id": row[0], "expires_ms": row[1]} for key, row in found.items() if row is not None
        }

    def merge(self, tx: Transaction, record: Record, present: Version | None) -> Taken | None:
        value = record.value
        if value is None or present is not None:
            return None
        digest = bytes.fromhex(record.key[0])
        return Taken((AddOpenIdToken(digest, value["user_id"], value["expires_ms"], 0),))


def _read_tokens(tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
    found = {key: RegistrationTokensRepository().find(tx, key[0], 0) for key in keys}
    return {
        key: {"uses_allowed": row.uses_allowed, "expires_ms": row.expires_ms}
        for key, row in found.items()
        if row is not None
    }


def _write_token(tx: Transaction, key: Key, value: Any) -> Sequence[Change]:
    if value is None:
        return (DeleteRegistrationToken(key[0]),)
    return (MergeRegistrationToken(key[0], value["uses_allowed"], value["expires_ms"]),)


class TokenUsesKind:
    """How often a registration token was used at one site."""

    name: Final = TOKEN_USES
    is_of_user: Final = False

    def read(self, tx: Transaction, keys: Sequence[Key]) -> Mapping[Key, Any]:
        return {key: RegistrationTokensRepository().find_uses(tx, *key) for key in keys}

    def merge(self, tx: Transaction, record: Record, present: Version | None) -> Taken | None:
        token, log = record.key
        uses = record.value or 0
        if log == find_own_log(tx) or uses <= RegistrationTokensRepository().find_uses(tx, token, log):
            return None
        return Taken((CountTokenUses(token, log, uses),))


LOGINS: Final = (
    LoginBanKind(),
    LoginFailureKind(),
    LoginTokenKind(),
    OpenIdTokenKind(),
    LastWriterKind(REGISTRATION_TOKEN, _read_tokens, _write_token, is_of_user=False),
    TokenUsesKind(),
)
