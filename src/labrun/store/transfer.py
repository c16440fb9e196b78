"""Objects from one code store to another: which ones a tree needs, and a stream of them.

A record of the stream is the line `KIND NAME SIZE` (git's number of the kind, the hash in hexadecimal
digits, bytes) and the content. Every object comes before the trees that name it, so a store that has a
tree has all of it, also when the line was cut in between.
"""

from collections.abc import Iterator, Sequence
from typing import IO

from dulwich.objects import parse_tree

from labrun.core.errors import BadValue
from labrun.store.code import CodeStore
from labrun.store.objects import BLOB, CHUNK_BYTES, TREE, PackReader
from labrun.store.working import FOLDER

_LINE_LIMIT_BYTES = 80


def objects_of(code: CodeStore, tree: str) -> tuple[list[str], list[str]]:
    """Files of a tree, and folders, each after those in it; the tree itself is the last.

    Raises:
        StoreDamaged: One is missing.
    """
    files: dict[str, None] = {}
    folders: dict[str, None] = {}
    with code.objects.reading() as reader:
        _walk(reader, tree, files, folders)
    return list(files), list(folders)


def _walk(reader: PackReader, tree: str, files: dict[str, None], folders: dict[str, None]) -> None:
    if tree in folders:
        return
    for _, mode, child in parse_tree(reader.content(bytes.fromhex(tree)), 20):
        if mode == FOLDER:
            _walk(reader, child.decode(), files, folders)
        else:
            files[child.decode()] = None
    folders[tree] = None


def missing(code: CodeStore, names: Sequence[str]) -> list[str]:
    """Those that are not in the store, in the same order.

    Raises:
        BadValue: One is no hash.
    """
    return [name for name in names if _hash(name) not in code.objects]


def _hash(name: str) -> bytes:
    try:
        found = bytes.fromhex(name)
    except ValueError:
        found = b""
    if len(found) != 20 or name != found.hex():
        raise BadValue("object", name, "a hash of 40 hexadecimal digits")
    return found


def send(code: CodeStore, names: Sequence[str], trees: frozenset[str]) -> Iterator[bytes]:
    """The records of these objects, in pieces of at most 1 MiB.

    Args:
        code: They are in it.
        names: In the order they shall be stored.
        trees: Which of them are trees.
    """
    with code.objects.reading() as reader:
        for name in names:
            raw = bytes.fromhex(name)
            yield _line(name, trees, reader.size(raw))
            yield from reader.chunks(raw)


def sent_bytes(code: CodeStore, names: Sequence[str], trees: frozenset[str]) -> int:
    """How long that is in all."""
    with code.objects.reading() as reader:
        sizes = {name: reader.size(bytes.fromhex(name)) for name in names}
    return sum(len(_line(name, trees, sizes[name])) + sizes[name] for name in names)


def _line(name: str, trees: frozenset[str], size_bytes: int) -> bytes:
    return b"%d %s %d\n" % (TREE if name in trees else BLOB, name.encode(), size_bytes)


def give(code: CodeStore, names: Sequence[str], limit_bytes: int) -> Iterator[bytes]:
    """The records of the first of these objects that stay below a limit, of one at least.

    Raises:
        BadValue: One is no hash.
        StoreDamaged: One is not there.
    """
    chosen, trees, size = list[str](), set[str](), 0
    with code.objects.reading() as reader:
        for name in names:
            size += reader.size(_hash(name))
            if chosen and size > limit_bytes:
                break
            chosen.append(name)
            if reader.kind(_hash(name)) == TREE:
                trees.add(name)
    return send(code, chosen, frozenset(trees))


def take(code: CodeStore, stream: IO[bytes]) -> int:
    """Store what `send` sent; durable when this returns. Blocks.

    Returns:
        How many objects were new.

    Raises:
        BadValue: The stream is cut short, or an object is not what its name says; nothing of it was stored.
        DiskFull: Nothing of it was stored.
    """
    count = 0
    with code.writing("storing what was uploaded"):
        writer = code.objects.writing()
        try:
            while line := stream.readline(_LINE_LIMIT_BYTES):
                kind, name, size = _record(line)
                content = _content(stream, size)
                if name in code.objects or name in writer:
                    for _ in content:
                        pass
                elif writer.add(kind, name, size, content):
                    count += 1
                else:
                    raise BadValue("uploaded object", name.hex(), "whole, and what its hash says; nothing was stored")
            writer.finish()
        finally:
            writer.abandon()
    return count


def _record(line: bytes) -> tuple[int, bytes, int]:
    kind, _, rest = line.decode("ascii", "replace").partition(" ")
    name, _, size = rest.partition(" ")
    if kind not in (str(BLOB), str(TREE)) or not size.endswith("\n") or not size[:-1].isdecimal():
        raise BadValue("uploaded record", line[:40].decode("ascii", "replace"), "KIND NAME SIZE")
    return int(kind), _hash(name), int(size)


def _content(stream: IO[bytes], size: int) -> Iterator[bytes]:
    while size:
        piece = stream.read(min(size, CHUNK_BYTES))
        if not piece:
            return  # the writer sees that it is too short
        size -= len(piece)
        yield piece
