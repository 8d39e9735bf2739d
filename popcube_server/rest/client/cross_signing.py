"""Specification module cross_signing: publish cross-signing keys, and signatures."""

from collections.abc import Mapping
from typing import Any

from popcube_server.rest.client.user_interactive_auth import Confirmation
from popcube_server.rest.endpoint import Call, endpoint
from popcube_server.rest.parse import find_object
from popcube_server.services.errors import BadJson
from popcube_server.services.keys.upload_cross_signing_keys import USAGES, UploadCrossSigningKeys
from popcube_server.services.keys.upload_signatures import UploadSignatures


class CrossSigning:
    """The endpoints below /keys that deal with cross-signing."""

    def __init__(
        self,
        upload_keys: UploadCrossSigningKeys,
        upload_signatures: UploadSignatures,
        confirmation: Confirmation,
    ) -> None:
        self._upload_keys = upload_keys
        self._upload_signatures = upload_signatures
        self._confirmation = confirmation

    @endpoint("POST", "/_matrix/client/v3/keys/device_signing/upload")
    async def upload_keys(self, call: Call) -> Mapping[str, Any]:
        body = self._confirmation.body(call)
        keys = {}
        for usage in USAGES:
            key = find_object(body, f"{usage}_key")
            if key is not None:
                keys[usage] = key

        async def confirm() -> None:
            await self._confirmation.confirm(call, "")

        await self._upload_keys.upload(call.requester, keys, confirm)
        return {}

    @endpoint("POST", "/_matrix/client/v3/keys/signatures/upload")
    async def upload_signatures(self, call: Call) -> Mapping[str, Any]:
        for user_id, keys in call.body.items():
            if not isinstance(keys, dict):
                raise BadJson(f"The keys of '{user_id}' must be an object.")
        return {"failures": await self._upload_signatures.upload(call.requester.user_id, call.body)}
