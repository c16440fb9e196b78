"""Patches as `git apply` reads them: one section per file. Pure."""

import difflib
import re
from collections.abc import Iterator
from typing import NamedTuple

_SNIFFED_BYTES = 8000
_COMPARED_LINES = 3000
"""Longer files are shown as replaced whole: looking for the least difference takes time that grows with the square."""
_ESCAPES = {7: b"\\a", 8: b"\\b", 9: b"\\t", 10: b"\\n", 11: b"\\v", 12: b"\\f", 13: b"\\r", 34: b'\\"', 92: b"\\\\"}


class Version(NamedTuple):
    """One side of a difference."""

    mode: int
    """As git writes it: 0o100644, 0o100755, 0o120000."""
    content: bytes
    """Of a link, its target."""


def is_binary(content: bytes) -> bool:
    """Whether git would take this for binary.

    Source:
        git, `buffer_is_binary` in `xdiff-interface.c`: a NUL among the first 8000 bytes.
    """
    return b"\0" in content[:_SNIFFED_BYTES]


def section(name: bytes, old: Version | None, new: Version | None) -> bytes:
    r"""Write the change of one text file; no old version: it is new, no new one: it is deleted.

    >>> print(section(b"a.txt", None, Version(0o100644, b"x\n")).decode(), end="")
    diff --git a/a.txt b/a.txt
    new file mode 100644
    --- /dev/null
    +++ b/a.txt
    @@ -0,0 +1 @@
    +x

    Source:
        git-diff(1), "Generating patch text with -p".
    """
    if old is not None and new is not None and (old.mode ^ new.mode) & 0o170000:
        return section(name, old, None) + section(name, None, new)  # a link became a file: two sections, as git does
    head = [b"diff --git %s %s\n" % (quoted(b"a/" + name), quoted(b"b/" + name))]
    if old is None and new is not None:
        head.append(b"new file mode %o\n" % new.mode)
    elif new is None and old is not None:
        head.append(b"deleted file mode %o\n" % old.mode)
    elif old is not None and new is not None and old.mode != new.mode:
        head.append(b"old mode %o\nnew mode %o\n" % (old.mode, new.mode))
    hunks = b"".join(_hunks(old.content if old else b"", new.content if new else b""))
    if hunks:
        head.append(b"--- %s\n" % (_file(b"a/" + name) if old else b"/dev/null"))
        head.append(b"+++ %s\n" % (_file(b"b/" + name) if new else b"/dev/null"))
    return b"".join(head) + hunks


def quoted(name: bytes) -> bytes:
    r"""Write a file name, in quotes when it has bytes that would be taken for something else.

    >>> quoted("a/naïve\n".encode()), quoted(b"a/plain name")
    (b'"a/na\\303\\257ve\\n"', b'a/plain name')

    Source:
        git-config(1), core.quotePath.
    """
    if not re.search(rb'[\x00-\x1f\x7f-\xff"\\]', name):
        return name
    octal = (_ESCAPES.get(byte) or (bytes([byte]) if 32 <= byte < 127 else b"\\%03o" % byte) for byte in name)
    return b'"' + b"".join(octal) + b'"'


def _file(name: bytes) -> bytes:
    """A name with a space is followed by a tab, so that readers know where it ends."""
    written = quoted(name)
    return written + b"\t" if b" " in written and not written.startswith(b'"') else written


def _hunks(old: bytes, new: bytes) -> Iterator[bytes]:
    before, after = _lines(old), _lines(new)
    if before == after:
        return
    if not before or not after or max(len(before), len(after)) > _COMPARED_LINES:
        yield b"@@ -%s +%s @@\n" % (_range(0, len(before)), _range(0, len(after)))
        yield from (_signed(b"-", line) for line in before)
        yield from (_signed(b"+", line) for line in after)
        return
    for group in difflib.SequenceMatcher(None, before, after, autojunk=False).get_grouped_opcodes(3):
        first, last = group[0], group[-1]
        yield b"@@ -%s +%s @@\n" % (_range(first[1], last[2]), _range(first[3], last[4]))
        for kind, i, j, k, m in group:
            if kind == "equal":
                yield from (_signed(b" ", line) for line in before[i:j])
                continue
            yield from (_signed(b"-", line) for line in before[i:j])
            yield from (_signed(b"+", line) for line in after[k:m])


def _lines(content: bytes) -> list[bytes]:
    r"""Cut at line feeds alone, as git does; `bytes.splitlines` cuts at `\r` too."""
    return [line for line in re.split(rb"(?<=\n)", content) if line]


def _signed(sign: bytes, line: bytes) -> bytes:
    return sign + line if line.endswith(b"\n") else sign + line + b"\n\\ No newline at end of file\n"


def _range(start: int, stop: int) -> bytes:
    """Write lines start (from 0) to stop; an empty range names the line before it."""
    length = stop - start
    if length == 1:
        return b"%d" % (start + 1)
    return b"%d,%d" % (start + 1 if length else start, length)
