"""Bodies that come compressed: gzip, and deflate as HTTP means it (zlib). What they unpack to is bounded before it is there."""

import zlib

from inference.errors import InvalidInput, UnsupportedMediaType

# How zlib names them.
CODINGS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


def check_coding(coding: str) -> None:
    """Raise UnsupportedMediaType for a Content-Encoding that is not read here."""
    if coding.lower() not in CODINGS and coding.lower() != "identity":
        raise UnsupportedMediaType(
            f"the body is encoded as {coding:.100}; send it as gzip, as deflate, or as it is, without Content-Encoding"
        )


def unpacked(body: bytes, coding: str, most: int) -> bytes | None:
    """Return what a body was before it was compressed, None where that has more than `most` bytes.

    Raises InvalidInput for what is not compressed so. Of one that was compressed in several parts, which could be without number,
    the first is not all: it is refused.
    """
    if coding.lower() == "identity":
        return body
    unpacker = zlib.decompressobj(CODINGS[coding.lower()])
    try:
        content = unpacker.decompress(body, most + 1)
    except zlib.error as error:
        raise InvalidInput(f"the body is declared as {coding}, and is none: {error}") from None
    if len(content) > most:
        return None
    if not unpacker.eof:
        raise InvalidInput(f"the body ends in the middle of its {coding}")
    if unpacker.unused_data:
        raise InvalidInput(f"{len(unpacker.unused_data)} bytes follow the end of the body's {coding}; send one part")
    return content
