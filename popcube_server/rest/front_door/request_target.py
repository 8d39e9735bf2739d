"""The target of a request in absolute form, `GET http://host/path HTTP/1.1`, as it would be sent to a proxy.

Source: RFC 9112, 3.2.2: "a server MUST accept the absolute-form in requests even though most HTTP/1.1 clients will only
send the absolute-form in requests to proxies".
"""

_SCHEMES = (b"http", b"https")


def split_absolute_form(target: bytes) -> tuple[bytes, bytes] | None:
    """The authority, and the path with the query; None if the target has another form."""
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in _SCHEMES:
        return None
    end = min((rest.index(mark) for mark in (b"/", b"?") if mark in rest), default=len(rest))
    path = rest[end:]
    # RFC 9110, 4.2.3: "an empty path component is equivalent to an absolute path of "/"".
    return rest[:end], path if path.startswith(b"/") else b"/" + path
