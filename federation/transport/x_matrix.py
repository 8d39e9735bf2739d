"""The X-Matrix header: who sends a request, and the signature that proves it.

Source: server-server API, "Request Authentication". What is signed is the canonical JSON of

    {"content": <the body, if there is one>, "destination": ..., "method": ..., "origin": ..., "uri": ...}
"""

import re

import orjson

from federation.room_dag.signing import EventSigner
from synapse_like_config.lazy_dataclasses import dataclass

SCHEME = "X-Matrix"
MAX_HEADER_CHARS = 4096

# RFC 9110, 11.2: `auth-param = token BWS "=" BWS ( token / quoted-string )`, in a list with commas, which may have
# empty members. "For compatibility with older servers, the recipient should allow colons to be included in values
# without requiring the value to be enclosed in quotes."
_PARAMETER = re.compile(
    r"[ \t,]*(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*=[ \t]*"
    r"(?:\"(?P<quoted>(?:[^\"\\]|\\.)*)\"|(?P<bare>[^\s\",]+))[ \t]*(?=,|$)"
)
_END = re.compile(r"[ \t,]*$")
_ESCAPED = re.compile(r"\\(.)")


class InvalidHeader(ValueError):
    """An Authorization header is not a well-formed X-Matrix one."""


@dataclass(frozen=True, slots=True)
class XMatrix:
    """The parameters of the header. Older servers leave `destination` out."""

    origin: str
    destination: str | None
    key_id: str
    signature: str


def parse_x_matrix(header: str) -> XMatrix:
    """Read the value of an Authorization header; raises InvalidHeader."""
    scheme, _, text = header.strip().partition(" ")
    # RFC 9110, 11.1: "It uses a case-insensitive token to identify the authentication scheme".
    if scheme.lower() != SCHEME.lower() or len(header) > MAX_HEADER_CHARS:
        raise InvalidHeader("not an X-Matrix header")
    # "The names are case insensitive and order does not matter." "Unknown parameters are ignored."
    parameters = _parse_parameters(text)
    try:
        return XMatrix(
            parameters["origin"], parameters.get("destination"), parameters["key"], parameters["sig"]
        )
    except KeyError as error:
        raise InvalidHeader(f"the parameter {error} is missing") from None


def _parse_parameters(text: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    position = 0
    while _END.match(text, position) is None:
        match = _PARAMETER.match(text, position)
        if match is None:
            raise InvalidHeader("the parameters are not well-formed")
        name = match["name"].lower()
        if name in parameters:
            raise InvalidHeader(f"the parameter {name} is there twice")
        quoted = match["quoted"]
        # "a backslash-character pair is replaced by the character that follows the backslash"
        parameters[name] = match["bare"] if quoted is None else _ESCAPED.sub(r"\1", quoted)
        position = match.end()
    return parameters


def build_x_matrix(
    signer: EventSigner, destination: str, method: str, uri: str, content: bytes | None
) -> str:
    """The header for a request. `content` is the body's canonical JSON, `uri` the path and query as they are sent."""
    signature = signer.sign_bytes(request_signed_bytes(signer.server_name, destination, method, uri, content))
    # "MUST always send" the destination. Older servers want one space, lower case and no backslashes.
    return (
        f'{SCHEME} origin="{signer.server_name}",destination="{destination}",'
        f'key="{signer.key_id}",sig="{signature}"'
    )


def request_signed_bytes(
    origin: str, destination: str | None, method: str, uri: str, content: bytes | None
) -> bytes:
    """What is signed of a request. `content` is canonical JSON already; it is spliced, not parsed again."""
    pieces = []
    if content is not None:
        pieces.append(b'"content":' + content)
    if destination is not None:
        pieces.append(b'"destination":' + orjson.dumps(destination))
    pieces.append(b'"method":' + orjson.dumps(method))
    pieces.append(b'"origin":' + orjson.dumps(origin))
    pieces.append(b'"uri":' + orjson.dumps(uri))
    return b"{" + b",".join(pieces) + b"}"
