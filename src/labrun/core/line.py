"""The one line format of every file that proves something: JSON with a checksum at its end.

A line is a JSON object whose last member `crc` holds eight hexadecimal digits: CRC-32 of the bytes
before `,"crc":`. Cheap to write, readable by people and by five lines of any language's standard
library, and a torn or flipped line cannot pass for a whole one.
"""

import zlib
from typing import TypeVar

import msgspec

from labrun.core.errors import StoreDamaged

T = TypeVar("T")

_MARK = b',"crc":"'
_TAIL_BYTES = len(_MARK) + len('00000000"}')
_encoder = msgspec.json.Encoder()


def encode_line(value: object) -> bytes:
    """Write a struct or mapping (not empty) as one checksummed line, newline included."""
    body = _encoder.encode(value)[:-1]
    return b'%s%s%08x"}\n' % (body, _MARK, zlib.crc32(body))


def body_of(line: bytes, where: str = "line") -> bytes:
    """Check a line and return its JSON object without the checksum.

    Raises:
        StoreDamaged: Torn or altered.
    """
    text = line.rstrip(b"\n")
    body, tail = text[:-_TAIL_BYTES], text[-_TAIL_BYTES:]
    if not body or tail != b'%s%08x"}' % (_MARK, zlib.crc32(body)):
        raise StoreDamaged(where, "a line is torn or altered")
    return body + b"}"


def decode_line(line: bytes, type_: type[T], where: str = "line") -> T:
    """Read one checksummed line as a type.

    Raises:
        StoreDamaged: Torn, altered, or not of this type.
    """
    try:
        return msgspec.json.decode(body_of(line, where), type=type_)
    except msgspec.DecodeError as error:
        raise StoreDamaged(where, str(error)) from error
