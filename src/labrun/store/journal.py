"""One append-only file of checksummed lines: one writer, appended unsynced, damage cut off and reported."""

import errno
import logging
import os
from pathlib import Path
from typing import Any, TypeVar, overload

import msgspec
from msgspec import Struct

from labrun.core.errors import StoreDamaged
from labrun.core.line import body_of, decode_line, encode_line
from labrun.store.filesystem import sync_directory

log = logging.getLogger(__name__)

T = TypeVar("T")
_BLOCK_BYTES = 65536


class Damage(Struct, frozen=True):
    """What could not be read of a journal: everything from the first line that does not fit its checksum."""

    path: str
    offset: int
    """First byte that is not part of a whole line."""
    size: int
    """How many bytes from there on."""
    is_torn_tail: bool
    """Only the last line is concerned: a write that a crash cut short. Else something was altered in the middle."""

    def __str__(self) -> str:
        kind = "torn last line" if self.is_torn_tail else "damaged line"
        return f"{kind} of {Path(self.path).name} at byte {self.offset} ({self.size} bytes)"


class Journal:
    """A file of lines, written by one owner.

    Reading changes nothing. The first append after damage was read (or, when nothing was read, after a look
    at the end of the file) cuts the damage off, so that what is appended can be read; bytes cut out of the
    middle are kept in `<name>.damaged` beside it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._damage: Damage | None = None
        self._is_end_known = False
        """The file ends with a whole line, or `_damage` says where they end."""

    def append(self, *values: object, sync: bool = False) -> int:
        """Append all values in one write; return the file's new length in bytes.

        Args:
            values: Structs or mappings, one line each.
            sync: Return only after they are durable, a new file's name too.

        Raises:
            OSError: Nothing was appended; a part that had reached the file was cut off again.
        """
        text = b"".join(map(encode_line, values))
        is_new = sync and not self.path.exists()
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._mend(descriptor)
            before = os.fstat(descriptor).st_size
            try:
                self._write(descriptor, text)
                if sync:
                    os.fdatasync(descriptor)
            except OSError:
                self._damage = Damage(str(self.path), before, len(text), is_torn_tail=True)
                os.ftruncate(descriptor, before)  # when this fails too, the next append does it
                self._damage = None
                raise
        finally:
            os.close(descriptor)
        if is_new:
            sync_directory(self.path.parent)
        return before + len(text)

    def sync(self) -> None:
        """Make what was appended durable; the name of a new file is its folder's business."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def restart(self) -> None:
        """Begin anew: what is there tells no story. It stays beside the journal for people to look at."""
        if self.path.exists():
            self._keep_aside(self.path.read_bytes())
            os.truncate(self.path, 0)
        self._damage, self._is_end_known = None, True

    @overload
    def read(self, type_: type[T]) -> tuple[list[T], Damage | None]: ...
    @overload
    def read(self, type_: Any) -> tuple[list[Any], Damage | None]: ...
    def read(self, type_: Any) -> tuple[list[Any], Damage | None]:
        """Read every whole line up to the first damage; a missing file is an empty one."""
        values, damage, _ = self.read_from(0, type_)
        return values, damage

    @overload
    def read_from(self, offset: int, type_: type[T]) -> tuple[list[T], Damage | None, int]: ...
    @overload
    def read_from(self, offset: int, type_: Any) -> tuple[list[Any], Damage | None, int]: ...
    def read_from(self, offset: int, type_: Any) -> tuple[list[Any], Damage | None, int]:
        """Read from a line's first byte on.

        Returns:
            Values, damage, and the byte after the last whole line: where to go on reading.
        """
        text = self._content(offset)
        values: list[Any] = []
        at, self._damage, self._is_end_known = 0, None, True
        while at < len(text):
            end = text.find(b"\n", at)
            try:
                values.append(decode_line(text[at:end] if end >= 0 else b"", type_, str(self.path)))
            except StoreDamaged:
                is_tail = end < 0 or end + 1 == len(text)
                self._damage = Damage(str(self.path), offset + at, len(text) - at, is_tail)
                break
            at = end + 1
        return values, self._damage, offset + at

    def read_raw(self) -> list[Any]:
        """Every whole line up to the first damage as plain JSON values, without checksums."""
        found = []
        for line in self._content(0).splitlines(keepends=True):
            try:
                if not line.endswith(b"\n"):
                    break
                found.append(msgspec.json.decode(body_of(line, str(self.path))))
            except (StoreDamaged, msgspec.DecodeError):
                break
        return found

    def _write(self, descriptor: int, text: bytes) -> None:
        if os.write(descriptor, text) != len(text):  # a disk that has just become full takes a part
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    def _content(self, offset: int) -> bytes:
        try:
            with self.path.open("rb") as source:
                source.seek(offset)
                return source.read()
        except FileNotFoundError:
            return b""

    def _mend(self, descriptor: int) -> None:
        if not self._is_end_known:
            self._damage, self._is_end_known = self._torn_tail(descriptor), True
        damage = self._damage
        if damage is None:
            return
        log.warning("journal cut at a damage", extra={"path": damage.path, "what": str(damage)})
        if not damage.is_torn_tail:
            size = os.fstat(descriptor).st_size - damage.offset
            self._keep_aside(os.pread(descriptor, size, damage.offset))
        os.ftruncate(descriptor, damage.offset)
        self._damage = None

    def _torn_tail(self, descriptor: int) -> Damage | None:
        """Look at the last line alone: whoever appends without reading has no business with the others."""
        size = os.fstat(descriptor).st_size
        at, tail = size, b""
        while at > 0 and b"\n" not in tail[:-1]:
            step = min(at, _BLOCK_BYTES)
            at -= step
            tail = os.pread(descriptor, step, at) + tail
        line = tail[tail.rfind(b"\n", 0, -1) + 1 :]
        if not line:
            return None
        try:
            body_of(line if line.endswith(b"\n") else b"", str(self.path))
        except StoreDamaged:
            return Damage(str(self.path), size - len(line), len(line), is_torn_tail=True)
        return None

    def _keep_aside(self, content: bytes) -> None:
        aside = self.path.with_name(f"{self.path.name}.damaged")
        with aside.open("ab") as kept:
            kept.write(content)
