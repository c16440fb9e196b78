"""Code of this machine, packed for a lab on another one: frozen here as it would be there, sent by difference.

A store of our own keeps what was frozen, so an unchanged project costs a stat per file, and an upload that
was cut goes on where it stopped. It can be removed at any time; the next submit makes it anew.
"""

import fcntl
import io
import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import to_builtins

from labrun.capture import host
from labrun.capture.configs import take_config
from labrun.capture.environment import ENVIRONMENT_PLACE
from labrun.capture.import_paths import map_imports
from labrun.capture.interpreter import callers_python
from labrun.capture.listing import list_code
from labrun.capture.live import is_labrun
from labrun.capture.locks import read_locks
from labrun.capture.machine import machine
from labrun.capture.readings import Readings
from labrun.capture.repository import DIFF_PLACE, read_head, read_repository
from labrun.core.environment import Environment
from labrun.core.errors import BadValue, StoreDamaged
from labrun.store import transfer
from labrun.store.code import CodeStore, Frozen
from labrun.store.seen import SeenFiles
from labrun.wire.transfer import Delivered
from labrun.worker.restore import check_destination, restore

PIECE_BYTES = 4 * 2**20
"""About so much is sent at once, and is then safe there; a larger file travels alone."""


class Packed(NamedTuple):
    """What is to be uploaded before a request can be sent."""

    delivered: dict[str, Any]
    """A wire `Delivered` as plain values."""
    trees: tuple[str, ...]
    code: CodeStore
    notices: tuple[str, ...]
    file_count: int
    size_bytes: int


class Limits(NamedTuple):
    """Most that is frozen."""

    size_bytes: int
    file_count: int


def pack(request: Mapping[str, Any], *, cwd: Path, variables: Mapping[str, str], cache: Path, limits: Limits) -> Packed:
    """Freeze what a submit brings. Blocks.

    Args:
        request: A wire `Submit` as plain values, resolved for another machine.
        cwd: The caller's directory.
        variables: The caller's environment on this machine.
        cache: Where the store lies; made when it is not there.
        limits: Most that is frozen.

    Raises:
        RequestError: The folder is too big, or a configuration file is no file.
        WorldError: Something cannot be read or stored.
    """
    code = open_store(cache)
    with _alone(cache):
        return _pack(code, request, cwd, variables, limits)


def _pack(
    code: CodeStore, request: Mapping[str, Any], cwd: Path, variables: Mapping[str, str], limits: Limits
) -> Packed:
    source, readings = request["spec"]["source"], Readings()
    if "root" in source:
        root = Path(source["root"])
        listing = list_code(root, tuple(source.get("only", ())), (), limit_files=limits.file_count)
        frozen = code.freeze(root, listing, limits.size_bytes)
        brought, notices = _brought(root, cwd, listing.files, frozen.tree, readings)
        imports, more = _imports(root, listing.files, cwd, variables, readings)
        more += [f"left out, it looks like credentials: {_some(listing.left_out)}"] if listing.left_out else []
        notices = [*listing.notices, *frozen.notices, *notices, *more]
    else:
        frozen, brought = Frozen(code.store_files({}), 0, 0), _there(Environment(machine=machine(readings)))
        imports, notices = (), []
    configs = tuple(take_config(path, brought) for path in request.get("configs", ()))
    delivered = Delivered(frozen.tree, code.store_files(brought), configs, imports)
    trees = (delivered.brought, frozen.tree)
    return Packed(to_builtins(delivered), trees, code, tuple(notices), frozen.file_count, frozen.size_bytes)


def open_store(cache: Path) -> CodeStore:
    """Our own store of code; made when it is not there.

    Raises:
        BadValue: There is no place for it.
    """
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        (cache / "lock").touch(0o600)
    except OSError as error:
        expected = f"a folder that can be written to ({error.strerror}); $XDG_CACHE_HOME names another place"
        raise BadValue("cache", str(cache), expected) from error
    return CodeStore(cache / "code.git", SeenFiles(cache / "seen", host.boot_id()))


@contextmanager
def in_cache(cache: Path) -> Iterator[None]:
    """Whatever is damaged here can be made anew: say so."""
    try:
        yield
    except StoreDamaged as error:
        if str(cache) in error.message:
            error.hint = f"it is a cache: `rm -r {shlex.quote(str(cache))}`, and the next command makes it anew"
        raise


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """One command at a time writes to our store: another one would take its unfinished pack for a leftover."""
    lock = os.open(cache / "lock", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def check_place(destination: str) -> None:
    """Refuse a folder that code cannot be restored to.

    Raises:
        BadValue: It holds something, or is no folder.
    """
    check_destination(destination)


def missing(code: CodeStore, objects: Sequence[str]) -> list[str]:
    """Which of these are not in our own store."""
    return transfer.missing(code, objects)


def take(code: CodeStore, cache: Path, body: bytes) -> None:
    """Keep what the other machine gave.

    Raises:
        BadValue: It is not what its hashes say.
    """
    with _alone(cache):
        transfer.take(code, io.BytesIO(body))


def lay_out(code: CodeStore, label: str, tree: str, destination: str) -> dict[str, Any]:
    """Write a tree's files, each checked against its hash; a wire `Restored` as plain values."""
    restored: dict[str, Any] = to_builtins(restore(code, label, tree, None, check_destination(destination)))
    return restored


def _brought(
    root: Path, cwd: Path, files: Sequence[str], tree: str, readings: Readings
) -> tuple[dict[str, bytes], list[str]]:
    """What goes with the code: lock files, the difference to the commit, and what this machine is."""
    head = read_head(root)
    locks = read_locks(root, cwd, Path(head.top) if head else None, None, readings)
    known = read_repository(root, files, tree, readings)
    environment = Environment(
        machine=machine(readings), locks=locks.locks, repository=known.repository if known is not None else None
    )
    brought = {**locks.files, **_there(environment)}
    if known is not None and known.diff is not None:
        brought[DIFF_PLACE] = known.diff
    return brought, [*locks.notices, *(known.notices if known is not None else ())]


def _there(environment: Environment) -> dict[str, bytes]:
    return {ENVIRONMENT_PLACE: msgspec.json.format(msgspec.json.encode(environment), indent=2) + b"\n"}


def _imports(
    root: Path, files: Sequence[str], cwd: Path, variables: Mapping[str, str], readings: Readings
) -> tuple[tuple[str, ...], list[str]]:
    """Folders of the copy that the caller's Python imports from; what it imports from elsewhere stays here."""
    found = map_imports(
        root=root,
        files=files,
        interpreter=callers_python(variables, cwd),
        python_path=variables.get("PYTHONPATH"),
        cwd=cwd,
        variables=variables,
        readings=readings,
    )
    live = [one for one in found.not_frozen if one.kind in ("editable", "import_path")]
    stay = [one.path for one in live if not is_labrun(one)]
    notices = [f"imported from here and not uploaded: {_some(stay)}"] if stay else []
    return tuple(entry for entry in found.import_path or () if entry.startswith("./")), notices


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (" …" if len(names) > 5 else "")


class Objects:
    """What a packed tree consists of, in the order it is to be sent."""

    def __init__(self, packed: Packed, tree: str) -> None:
        self._code = packed.code
        files, folders = transfer.objects_of(packed.code, tree)
        self.names = [*files, *folders]
        self._trees = frozenset(folders)

    def size_bytes(self, names: Sequence[str]) -> int:
        """How much these hold."""
        with self._code.objects.reading() as reader:
            return sum(reader.size(bytes.fromhex(name)) for name in names)

    def pieces(self, names: Sequence[str]) -> Iterator[tuple[int, Callable[[], Iterator[bytes]]]]:
        """Uploads that bring these, in order: how long each is, and what gives it as often as it is sent."""
        held, held_bytes = list[str](), 0
        for name in names:
            size = self.size_bytes([name])
            if held and held_bytes + size > PIECE_BYTES:
                yield self._upload(held)
                held, held_bytes = [], 0
            held.append(name)
            held_bytes += size
        if held:
            yield self._upload(held)

    def _upload(self, names: Sequence[str]) -> tuple[int, Callable[[], Iterator[bytes]]]:
        size = transfer.sent_bytes(self._code, names, self._trees)
        return size, partial(transfer.send, self._code, names, self._trees)
