"""A home: one directory that holds everything, owned by one server at a time."""

import contextlib
import fcntl
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec
from msgspec import Struct

from labrun import __version__
from labrun.core.errors import HomeBusy, HomeUnusable
from labrun.store.filesystem import Probe, file_system, remote_name, sync_directory, write_durably
from labrun.store.queue import database

FORMAT = 1
_LABEL_BLOCK = 256
_LOCK_PATIENCE_S = 2.0
"""Between fork and exec a child holds every descriptor: a lock may look held for a moment after its owner died."""
_ELSEWHERE = "name another directory with LAB_HOME"
_MAKINGS = (
    *("home.toml", "labs", "store", "control", "server.lock", "server.log", "reserve"),
    *("queue.sqlite*", ".home.json.*"),
)
"""What a directory may hold that is to become a home: settings written beforehand, and the makings of a crash."""


@dataclass(frozen=True)
class Home:
    """Where everything of a home lies."""

    root: Path
    state: Path
    """Queue, index, control files, socket and lock: the root itself, or a directory on a local disk."""

    @property
    def facts(self) -> Path:
        """What is true of the home as a whole; written last when it is made."""
        return self.root / "home.json"

    @property
    def labs(self) -> Path:
        """Experiments' folders."""
        return self.root / "labs"

    @property
    def trash(self) -> Path:
        """Folders of deleted experiments, by lab and month as in `labs`."""
        return self.root / "trash"

    @property
    def store(self) -> Path:
        """Code and variables, by content."""
        return self.root / "store"

    @property
    def code(self) -> Path:
        """The code store, a bare git repository."""
        return self.store / "code.git"

    @property
    def env(self) -> Path:
        """Variables of open experiments, 0600."""
        return self.store / "env"

    @property
    def trees(self) -> Path:
        """Code of sealed experiments, by tree; read-only, their `work/` folders have hard links to it."""
        return self.store / "trees"

    @property
    def submitted(self) -> Path:
        """What was submitted beside the code, by content; read-only, experiments have hard links to it."""
        return self.store / "submitted"

    @property
    def links(self) -> Path:
        """Answers to what stays live, by source folder."""
        return self.store / "links.json"

    @property
    def control(self) -> Path:
        """Proof of life and death."""
        return self.state / "control"

    @property
    def queue(self) -> Path:
        """The queue's database."""
        return self.state / "queue.sqlite"

    @property
    def index(self) -> Path:
        """The index's database, a cache."""
        return self.state / "index.sqlite"

    @property
    def socket(self) -> Path:
        """Where the server listens."""
        return self.state / "server.sock"

    @property
    def lock(self) -> Path:
        """Held by the server for life."""
        return self.state / "server.lock"

    @property
    def log(self) -> Path:
        """What the server says once it stands alone."""
        return self.root / "server.log"

    @property
    def mark(self) -> Path:
        """Says whose a separate state directory is."""
        return self.state / "state-of"

    @property
    def reserve(self) -> Path:
        """Space kept for the day the disk is full."""
        return self.state / "reserve"


class Facts(Struct, frozen=True):
    """Content of `home.json`; members a newer labrun added are kept out of sight, not removed."""

    format: int
    home_id: str
    created_at: datetime
    version: str
    """Of the labrun that made it."""
    state: str | None = None
    """Absolute path of the state directory when it is not the home itself."""
    label_high_water: int = 0
    """No label above this number was ever given. It runs ahead of the queue, so that a lost queue repeats none."""


def init_home(root: Path, state: Path | None = None, probe: Probe = file_system) -> Home:
    """Make a home, or complete one whose making a crash interrupted; a finished one is opened.

    Args:
        root: The home's directory; its parents are made too.
        state: A directory on a local disk for queue, index, control files and socket, when the root is remote.
        probe: Tells the type of the file system a path lies on.

    Raises:
        HomeUnusable: The directory is something else, or cannot hold a home.
        HomeBusy: Somebody else has been making it for longer than we wait.
    """
    root = root.absolute()
    home = Home(root, state.absolute() if state is not None else root)
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not home.facts.exists():
            _check_makings(home)
            _check_place(home, probe)
            home.state.mkdir(mode=0o700, parents=True, exist_ok=True)
            if home.state != root:
                _check_claim(home)
            if _make_alone(home):
                return home
        opened = open_home(root, probe)
    except (FileExistsError, NotADirectoryError) as error:
        raise HomeUnusable(str(root), f"`{error.filename}` is a file", _ELSEWHERE) from error
    except OSError as error:
        raise HomeUnusable(str(root), error.strerror or str(error), _ELSEWHERE) from error
    if state is not None and opened.state != home.state:
        raise HomeUnusable(str(root), f"its state lies at `{opened.state}` already", "leave --state out")
    return opened


def _make_alone(home: Home) -> bool:
    """Make a home under its server's lock, so that no second one makes it anew; False when another made it first."""
    try:
        descriptor = _take_lock(home)
    except HomeBusy:
        if home.facts.exists():  # the other one made it, and serves it by now
            return False
        raise
    try:
        if home.facts.exists():
            return False
        for folder in (home.labs, home.control, home.store, home.env, home.submitted):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if home.state != home.root:
            if not home.mark.exists():
                write_durably(home.mark, f"{home.root}\n".encode())
            _check_state(home)
        if not home.queue.exists():
            database.create(home.queue)
        for folder in {home.state, home.store, home.state.parent, home.root.parent}:
            sync_directory(folder)
        write_durably(home.facts, _fresh_facts(home))
        return True
    finally:
        os.close(descriptor)


def _check_claim(home: Home) -> None:
    """Refuse a state directory that is another home's, or holds anything else."""
    if home.mark.exists():
        _check_state(home)
        return
    ours = ("control", home.mark.name, home.lock.name)
    names = [path.name for path in home.state.iterdir()]
    strangers = [name for name in names if name not in ours and not name.startswith(f".{home.mark.name}.")]
    if strangers and not home.mark.exists():  # else somebody has just marked it
        raise HomeUnusable(str(home.state), "it holds other things", "give --state a new directory")


def _check_state(home: Home) -> None:
    try:
        owner = home.mark.read_text(encoding="utf-8").strip()
    except OSError as error:
        why = f"its state directory `{home.state}` is not on this host"
        raise HomeUnusable(str(home.root), why, "work on the host where the home was made") from error
    if owner != str(home.root):
        raise HomeUnusable(str(home.state), f"it is the state of the home `{owner}`", "give --state a new directory")


def _fresh_facts(home: Home) -> bytes:
    return _encode(
        Facts(
            format=FORMAT,
            home_id=secrets.token_hex(8),
            created_at=datetime.now(UTC),  # noqa: TID251  a fact for people; nothing is decided by it
            version=__version__,
            state=str(home.state) if home.state != home.root else None,
        )
    )


def _encode(facts: Facts | dict[str, object]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(facts), indent=2) + b"\n"


def _check_makings(home: Home) -> None:
    """Take an empty directory, or one a crash left half-made; never anybody's folder."""
    names = [path.name for path in home.root.iterdir()]
    strangers = [name for name in names if not any(fnmatchcase(name, making) for making in _MAKINGS)]
    if home.labs.is_dir():
        strangers += [f"labs/{path.name}" for path in home.labs.iterdir()]
    if strangers and not home.facts.exists():  # else somebody has just finished making it
        shown = ", ".join(sorted(strangers)[:3])
        why = f"it holds other things ({shown}) and no home.json"
        raise HomeUnusable(str(home.root), why, "name an empty or new directory with LAB_HOME")


def open_home(root: Path, probe: Probe = file_system) -> Home:
    """Open a home, making it first where there is nothing yet.

    Raises:
        HomeUnusable: It is none, of a newer format, somebody else's, or cannot be written.
    """
    root = root.absolute()
    if not os.path.lexists(root / "home.json"):
        return init_home(root, probe=probe)
    facts = _read_facts(root)
    home = Home(root, Path(facts.state) if facts.state is not None else root)
    if home.state != root:
        _check_state(home)
    owner = root.stat().st_uid
    if owner != os.geteuid():
        raise HomeUnusable(str(root), f"it belongs to user id {owner}", "use a home of your own")
    _check_place(home, probe)
    for folder in (home.root, home.state):
        if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
            is_mount = os.statvfs(folder).f_flag & os.ST_RDONLY
            why = "its file system is mounted read-only" if is_mount else "you may not write there"
            raise HomeUnusable(str(folder), why, f"make it writable, or {_ELSEWHERE}")
    try:
        for folder in (home.labs, home.control, home.store, home.env, home.submitted):
            folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise HomeUnusable(str(root), f"{error.strerror}: {error.filename}", _ELSEWHERE) from error
    return home


def _read_facts(root: Path) -> Facts:
    path = root / "home.json"
    try:
        content = path.read_bytes()
        number = msgspec.json.decode(content, type=dict).get("format")
        if isinstance(number, int) and number > FORMAT:
            why = f"its format {number} is newer than this labrun {__version__}, which knows {FORMAT}"
            raise HomeUnusable(str(root), why, "use the newer labrun")
        return msgspec.json.decode(content, type=Facts)
    except msgspec.DecodeError as error:
        why = f"its home.json is damaged ({error})"
        raise HomeUnusable(str(root), why, "restore home.json from a backup; the records are untouched") from error
    except OSError as error:
        raise HomeUnusable(str(root), error.strerror or str(error), _ELSEWHERE) from error


def _check_place(home: Home, probe: Probe) -> None:
    """Refuse a state directory on a remote file system.

    Raises:
        HomeUnusable: Locks and SQLite's shared memory cannot be trusted there.
    """
    where = next(path for path in (home.state, *home.state.parents) if path.exists())
    name = remote_name(probe(where))
    if name is None:
        return
    why = f"it lies on {name}, where locks and the queue's database cannot be trusted"
    hint = "`lab init --state DIR` keeps queue, control files and socket in DIR, on a local disk, and the folders here"
    raise HomeUnusable(str(home.state), why, hint)


@contextmanager
def lock_home(home: Home) -> Iterator[None]:
    """Own the home until left. A `with` block that another process waits for at most two seconds.

    Raises:
        HomeBusy: Another server owns it; it is named.
        HomeUnusable: The lock cannot be made.
    """
    try:
        descriptor = _take_lock(home)
    except OSError as error:
        raise HomeUnusable(str(home.root), f"its lock failed: {error.strerror}", "`lab doctor` says more") from error
    try:
        with contextlib.suppress(OSError):  # for people only; nothing is decided by it, and the disk may be full
            text = f"process {os.getpid()} on {socket.gethostname()}".encode()
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, text, 0)
        yield
    finally:
        os.close(descriptor)


def _take_lock(home: Home) -> int:
    deadline = time.monotonic() + _LOCK_PATIENCE_S
    while True:
        descriptor = os.open(home.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), home.lock.stat()):
                return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline:
                owner = _owner(descriptor)
                os.close(descriptor)
                raise HomeBusy(str(home.root), owner) from None
        except FileNotFoundError:
            pass  # somebody removed the file between our open and our lock: lock the one that has the name now
        os.close(descriptor)
        time.sleep(0.02)


def _owner(descriptor: int) -> str:
    text = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip() or "one that has not said its name yet"
    since = datetime.fromtimestamp(os.fstat(descriptor).st_mtime, UTC)
    return f"{text} since {since:%Y-%m-%d %H:%M:%S} UTC"


class LabelMark:
    """The home's own memory of which labels were given, so that a lost queue cannot give them again.

    `home.json` is raised by blocks *before* a label above it is committed: one durable file per 256 submits.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self.number = _read_facts(home.root).label_high_water

    def cover(self, number: int) -> None:
        """Return after `home.json` holds at least this label.

        Raises:
            OSError: It could not be written; the label must not be given.
        """
        if number > self.number:
            raised = number + _LABEL_BLOCK - 1
            _read_facts(self._home.root)  # whole, or it is not written over
            facts = msgspec.json.decode(self._home.facts.read_bytes(), type=dict)  # with what a newer labrun added
            write_durably(self._home.facts, _encode(facts | {"label_high_water": raised}))
            self.number = raised
