"""User-interactive authentication, fallback: a page on which somebody completes a stage that their client cannot."""

from collections.abc import Mapping
from html import escape
from urllib.parse import parse_qs

from popcube_server.rest.endpoint import Access, Answer, Call, Payload, endpoint
from popcube_server.rest.parse import query_string
from popcube_server.services.auth.interactive_auth import InteractiveAuth, StageFailed
from popcube_server.services.auth.stages import DUMMY, PASSWORD, REGISTRATION_TOKEN
from popcube_server.services.errors import NotAllowed, NotFound, NotJson, TooLarge

MAX_FORM_BYTES = 16 * 1024
_PATH = "/_matrix/client/v3/auth/{auth_type}/fallback/web"

# What each stage asks for: name of the field in `auth`, label, and type of the input.
_FIELDS: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    DUMMY: (),
    REGISTRATION_TOKEN: (("token", "Registration token", "text"),),
    PASSWORD: (("password", "Password", "password"),),
}

# Of the specification: tells the client, which opened this page, that the stage is completed.
_DONE = """
if (window.onAuthDone) {
    window.onAuthDone();
} else if (window.opener && window.opener.postMessage) {
    window.opener.postMessage("authDone", "*");
}
"""

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class AuthFallback:
    def __init__(self, interactive_auth: InteractiveAuth) -> None:
        self._interactive_auth = interactive_auth

    @endpoint("GET", _PATH, Access.OPEN)
    async def page(self, call: Call) -> Answer:
        auth_type, session_id = self._stage(call)
        self._interactive_auth.check_stage(session_id, auth_type)
        return _form(auth_type, "")

    @endpoint("POST", _PATH, Access.OPEN, Payload.RAW)
    async def submit(self, call: Call) -> Answer:
        auth_type, session_id = self._stage(call)
        form = _read_form(call)
        auth = {"type": auth_type, **{name: form.get(name, "") for name, _, _ in _FIELDS[auth_type]}}
        if auth_type == PASSWORD:
            self._check_owner(session_id)
        try:
            await self._interactive_auth.complete_stage(session_id, auth, call.client_address)
        except StageFailed as error:
            return _form(auth_type, error.message)
        return _page(f"<p>Thank you. You may close this window.</p><script>{_DONE}</script>")

    def _stage(self, call: Call) -> tuple[str, str]:
        auth_type = call.path["auth_type"]
        if auth_type not in _FIELDS:
            raise NotFound("There is no such page.")
        return auth_type, query_string(call, "session")

    def _check_owner(self, session_id: str) -> None:
        # The page asks for a password only: whose it is must be known from the request.
        if not self._interactive_auth.check_stage(session_id, PASSWORD).operation.user_id:
            raise NotAllowed("This page works for somebody who is logged in only.")


def _read_form(call: Call) -> Mapping[str, str]:
    if call.content_length > MAX_FORM_BYTES:
        raise TooLarge("The form is too large.")
    try:
        text = call.content.read().decode("ascii")
        fields = parse_qs(text, keep_blank_values=True, errors="strict", max_num_fields=10)
    except ValueError:
        raise NotJson("The form cannot be read.") from None
    return {name: values[-1] for name, values in fields.items()}


def _form(auth_type: str, error: str) -> Answer:
    # Without an action, a form goes to the address of its page, the session in the query included.
    inputs = "".join(
        f'<p><label>{escape(label)} <input name="{name}" type="{kind}" required></label></p>'
        for name, label, kind in _FIELDS[auth_type]
    )
    problem = f'<p role="alert">{escape(error)}</p>' if error else ""
    return _page(f'{problem}<form method="post">{inputs}<p><button>Continue</button></p></form>')


def _page(body: str) -> Answer:
    html = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Confirm</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<style>body{font:16px sans-serif;max-width:30em;margin:3em auto;padding:0 1em}</style></head>"
        f"<body><h1>Please confirm</h1>{body}</body></html>"
    )
    return Answer(html.encode(), headers=_HEADERS, content_type="text/html; charset=utf-8")
