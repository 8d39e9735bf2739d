"""The query of a request."""

from collections.abc import Mapping
from urllib.parse import parse_qs

from popcube_server.services.errors import InvalidParam

MAX_QUERY_FIELDS = 200


def parse_query(uri: bytes) -> Mapping[str, tuple[str, ...]]:
    """Each field's values. Raises `InvalidParam`."""
    _, mark, text = uri.partition(b"?")
    if not mark or not text:
        return {}
    try:
        fields = parse_qs(
            text.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_QUERY_FIELDS
        )
    except ValueError:
        raise InvalidParam("The query string cannot be read.") from None
    return {name: tuple(values) for name, values in fields.items()}
