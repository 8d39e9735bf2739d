"""What stands before the body of an answer. Every answer may be read by any web page (CORS)."""

from collections.abc import Mapping

from twisted.web.http import Request

CORS = (
    (b"Access-Control-Allow-Origin", b"*"),
    (b"Access-Control-Allow-Methods", b"GET, POST, PUT, DELETE, OPTIONS"),
    (b"Access-Control-Allow-Headers", b"X-Requested-With, Content-Type, Authorization"),
)


def write_head(
    request: Request, status: int, content_type: str, length: int, headers: Mapping[str, str]
) -> None:
    """`length`: of the body, in bytes."""
    request.setResponseCode(status)
    for name, value in CORS:
        request.setHeader(name, value)
    request.setHeader(b"Content-Type", content_type.encode("latin-1", "replace"))
    request.setHeader(b"Content-Length", str(length).encode())
    for header, text in headers.items():
        request.setHeader(header.encode("latin-1"), text.encode("latin-1", "replace"))
