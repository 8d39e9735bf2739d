"""Unpadded Base64 (appendices, "Unpadded Base64")."""

import binascii
from base64 import b64decode, b64encode, urlsafe_b64encode


def encode_base64(data: bytes) -> str:
    """Standard alphabet, without padding."""
    return b64encode(data).rstrip(b"=").decode("ascii")


def encode_base64_url_safe(data: bytes) -> str:
    """URL-safe alphabet, without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode_base64(text: str) -> bytes:
    """Either alphabet, with or without padding; raises ValueError."""
    # "implementations SHOULD accept input with or without padding characters wherever possible"
    bare = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError(f"not Base64: {error}") from None
