"""Questions to identity servers, in the name of a user who gave a token for one.

Source: identity service API, "Association lookup", "Invitation storage", "Key management". Their addresses come from
users, and addresses of keys from rooms: requests go over HTTPS, nowhere that the address policy forbids, and are not
redirected.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson

from federation.identity.third_party_keys import MAX_KEYS, InviteKey
from federation.room_dag.base64 import decode_base64, encode_base64_url_safe
from federation.room_dag.canonical_json import NotCanonical, decode_json, encode_lenient
from federation.room_dag.identifiers import is_server_name
from federation.transport.errors import AnswerTooLarge, TransportError
from federation.transport.https import HttpRequest, HttpResponse, Https, ResponseLimits
from federation.transport.https_url import parse_https_url
from synapse_like_config.lazy_dataclasses import dataclass

V2 = "/_matrix/identity/v2/"
LIMITS = ResponseLimits(10.0, 64 * 1024)
MAX_TOKEN_CHARS = 255
MAX_NAME_CHARS = 255


class IdentityServerFailed(Exception):
    """The identity server did not answer, or not as it should."""


class IdentityServerRefused(Exception):
    """The identity server said no. `body` is its answer."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        errcode, error = body.get("errcode"), body.get("error")
        self.status = status
        self.errcode = errcode if isinstance(errcode, str) else None
        self.error = error if isinstance(error, str) else None
        self.body = body
        super().__init__(f"{status} {self.errcode or ''}")


@dataclass(frozen=True, slots=True)
class IdentityAccess:
    """An identity server, `host` or `host:port`, and a user's token for it."""

    server: str
    token: str


@dataclass(frozen=True, slots=True)
class Address:
    """A third-party identifier: `email` or `msisdn`, and which."""

    medium: str
    address: str


@dataclass(frozen=True, slots=True)
class StoredInvite:
    """What an identity server promises to sign for whoever turns out to have the address."""

    token: str
    display_name: str
    keys: tuple[InviteKey, ...]
    """At least one."""


class IdentityServers:
    """All methods raise `IdentityServerFailed`; with a token also `IdentityServerRefused`."""

    def __init__(self, https: Https, user_agent: str) -> None:
        self._https = https
        self._user_agent = user_agent

    async def lookup(self, access: IdentityAccess, address: Address) -> str | None:
        """The user who has bound an address, as the identity server says; None if nobody has."""
        try:
            return await self._lookup(access, address)
        except IdentityServerRefused as refused:
            # "M_INVALID_PEPPER: The client's pepper was wrong": it changed in between. Once more, with the new one.
            if refused.errcode != "M_INVALID_PEPPER":
                raise
        return await self._lookup(access, address)

    async def store_invite(
        self, access: IdentityAccess, address: Address, about: Mapping[str, str]
    ) -> StoredInvite:
        """Leave an invite for an address. `about` tells of room and sender, in the words of the specification."""
        body = {**about, "medium": address.medium, "address": address.address}
        return _stored_invite(access.server, await self._ask(access, "POST", "store-invite", body))

    async def is_key_valid(self, key: InviteKey) -> bool:
        """Whether the key may still be believed. One that does not say where to ask is good for ever."""
        if key.validity_url is None:
            return True
        try:
            route, uri = parse_https_url(key.validity_url)
        except ValueError as error:
            raise IdentityServerFailed(f"key_validity_url: {error}") from None
        mark = "&" if urlsplit(uri).query else "?"
        request = HttpRequest(
            "GET", uri + mark + urlencode({"public_key": key.public_key}), self._headers(), None
        )
        try:
            response = await self._https.request(route, request, LIMITS)
        except (TransportError, AnswerTooLarge) as error:
            raise IdentityServerFailed(str(error)) from None
        # `key_validity_url`: "must return a JSON object containing a boolean property named `valid`".
        return response.status == 200 and _object(response).get("valid") is True

    async def _lookup(self, access: IdentityAccess, address: Address) -> str | None:
        details = await self._ask(access, "GET", "hash_details", None)
        pepper, algorithms = details.get("lookup_pepper"), details.get("algorithms")
        if not isinstance(pepper, str) or not isinstance(algorithms, list):
            raise IdentityServerFailed("the identity server does not say how to hash")
        plain = f"{address.address} {address.medium}"
        if "sha256" in algorithms:
            algorithm = "sha256"
            wanted = encode_base64_url_safe(sha256(f"{plain} {pepper}".encode()).digest())
        elif "none" in algorithms:
            algorithm, wanted = "none", plain
        else:
            raise IdentityServerFailed("the identity server hashes in no way that is known here")
        body = {"addresses": [wanted], "algorithm": algorithm, "pepper": pepper}
        mappings = (await self._ask(access, "POST", "lookup", body)).get("mappings")
        user_id = mappings.get(wanted) if isinstance(mappings, dict) else None
        return user_id if isinstance(user_id, str) else None

    async def _ask(
        self, access: IdentityAccess, method: str, verb: str, body: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        if not is_server_name(access.server):
            raise IdentityServerFailed("that is no name of an identity server")
        try:
            route, uri = parse_https_url(f"https://{access.server}{V2}{verb}")
        except ValueError as error:
            raise IdentityServerFailed(str(error)) from None
        headers = {**self._headers(), "Authorization": f"Bearer {access.token}"}
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = orjson.dumps(body)
        try:
            response = await self._https.request(route, HttpRequest(method, uri, headers, content), LIMITS)
        except (TransportError, AnswerTooLarge) as error:
            raise IdentityServerFailed(str(error)) from None
        answer = _object(response)
        if response.status != 200:
            if 400 <= response.status < 500:
                raise IdentityServerRefused(response.status, answer)
            raise IdentityServerFailed(f"status {response.status}")
        return answer

    def _headers(self) -> dict[str, str]:
        return {"User-Agent": self._user_agent, "Accept": "application/json"}


def _object(response: HttpResponse) -> dict[str, Any]:
    try:
        value = decode_json(response.body)
        encode_lenient(value)
    except (ValueError, NotCanonical):
        value = None
    if not isinstance(value, dict):
        if response.status != 200:
            return {}
        raise IdentityServerFailed("the answer is not a JSON object")
    return value


def _stored_invite(server: str, answer: Mapping[str, Any]) -> StoredInvite:
    token, name = answer.get("token"), answer.get("display_name")
    if not isinstance(token, str) or not 0 < len(token.encode("utf-8", "replace")) <= MAX_TOKEN_CHARS:
        raise IdentityServerFailed("the identity server gave no token")
    if not isinstance(name, str):
        raise IdentityServerFailed("the identity server gave no name to display")
    entries = answer.get("public_keys")
    keys = [_key(server, entry) for entry in entries[:MAX_KEYS]] if isinstance(entries, list) else []
    if not keys and isinstance(answer.get("public_key"), str):
        # COMPAT: servers of before there were several keys.
        keys = [_key(server, {"public_key": answer["public_key"]})]
    if not keys:
        raise IdentityServerFailed("the identity server gave no key")
    return StoredInvite(token, name[:MAX_NAME_CHARS], tuple(keys))


def _key(server: str, entry: Any) -> InviteKey:
    text = entry.get("public_key") if isinstance(entry, dict) else None
    url = entry.get("key_validity_url") if isinstance(entry, dict) else None
    try:
        if not isinstance(text, str) or len(decode_base64(text)) != 32:
            raise ValueError("no key of 32 bytes")
        url = f"https://{server}{V2}pubkey/isvalid" if url is None else url
        if not isinstance(url, str):
            raise ValueError("no address to ask for its validity")
        parse_https_url(url)
    except ValueError as error:
        raise IdentityServerFailed(f"a key of the identity server cannot be used: {error}") from None
    return InviteKey(text, url)
