"""Seal the evidence of ended attempts, many at once; what is sealed is durable, and chained.

What is synced, and nothing else, for a batch:

- each file once: of every attempt `order.json started exit.json stdout.log stderr.log log.idx usage.jsonl
  metrics.jsonl` and whatever else lies in `attempts/N/`, its `seal.json`; of its experiment
  `README.md run_manifest.json events.jsonl notes.jsonl` and every artifact that is a regular file (those that exist);
- each folder once: `attempts/N`, `attempts`, the experiment's folder, every folder on the way to an artifact,
  and for the whole batch the month's, the lab's and `labs/`;
- each lab's `chain.jsonl` once, after all of these.

Sealing again after a crash repeats whatever is not in the chain yet, and leaves alone what is.
"""

import ctypes
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct, to_builtins

from labrun.core.errors import StoreDamaged
from labrun.core.story import Story
from labrun.store.artifacts import located, written
from labrun.store.chain import CancelledWaiting as CancelledWaiting
from labrun.store.chain import ChainLine as ChainLine
from labrun.store.chain import Link, append_links, find_links, open_chain
from labrun.store.chain import append_cancelled as append_cancelled
from labrun.store.evidence import Code, Environment, Piece, Seal, Superseded, read_seal, weigh, write_seal
from labrun.store.folder import Folder
from labrun.store.metric_summary import summary_at_end
from labrun.store.notes import read_told
from labrun.store.submitted import read_environment
from labrun.store.verify import Finding as Finding
from labrun.store.verify import verify_chain as verify_chain
from labrun.store.verify import verify_folder as verify_folder
from labrun.store.views import manifest, readme
from labrun.store.views.facts import Facts
from labrun.wire.responses import Artifact, FailureCard

_LIBC = ctypes.CDLL(None, use_errno=True)
_THREADS = 4
_POOL = ThreadPoolExecutor(_THREADS, thread_name_prefix="seal")
# Syncs that wait together share one commit of the file system's journal. Threads are kept: starting them anew for
# each batch took longer than the batch; more of them only got in the way of the server's loop.

_LONG_BYTES = 16 << 20
"""From here on several threads hash; below, they would only get into each other's way."""

_COPIES = {"order": "order.json", "started": "started", "exit": "exit.json"}
"""Control files by the name they have in the record."""


@dataclass(frozen=True)
class SealJob:
    """One ended attempt."""

    folder: Folder
    attempt: int
    story: Story
    """Its events are in the journal already."""
    control: Mapping[str, str]
    """Paths of its control files by name: `order`, `started`, `exit`; those that exist."""
    exit_record: Struct | None
    artifacts: Sequence[Artifact]
    at: datetime
    card: FailureCard | None = None
    """For the README, when it failed."""


class Sealed(Struct, frozen=True):
    """One attempt whose evidence is durable and chained."""

    run_id: str
    attempt: int
    seal: str
    """SHA-256 of its `seal.json`."""
    chain: Path
    chain_end: int
    """Length of the chain in bytes after the batch."""
    is_new: bool
    """False when an earlier try had sealed it already."""


class _Draft(Struct, frozen=True):
    """A seal that is written and waits for its syncs."""

    digest: str
    files: list[str]
    folders: list[str]


def seal_batch(jobs: Sequence[SealJob]) -> list[Sealed]:
    """Seal attempts; blocks. Durable, in this order, when it returns: folders, then chains.

    Raises:
        OSError: The disk failed. Nothing was added to any chain, or only to the first ones; repeat it.
    """
    if not jobs:
        return []
    chains = {job.folder.lab: open_chain(job.folder.lab) for job in jobs}
    known = [_known(chains[job.folder.lab], job) for job in jobs]
    fresh = [job for job, line in zip(jobs, known, strict=True) if line is None]
    is_long = sum(found.size_bytes for job in fresh for found in job.artifacts) > _LONG_BYTES
    drafts = list(_POOL.map(_draft, fresh)) if is_long else [_draft(job) for job in fresh]
    files = list(dict.fromkeys(path for draft in drafts for path in draft.files))
    for path in files:
        _begin_writing(path)
    _share(_sync_file, files)
    _share(_sync_folder, list(_folders(drafts, fresh)))
    digests = {id(job): draft.digest for job, draft in zip(fresh, drafts, strict=True)}
    ends: dict[Path, int] = {}
    for lab, chain in chains.items():
        links = [_link(job, digests[id(job)]) for job in fresh if job.folder.lab == lab]
        ends[chain] = append_links(chain, links) if links else chain.stat().st_size
    sealed = []
    for job, line in zip(jobs, known, strict=True):
        chain = chains[job.folder.lab]
        digest = line.seal if line is not None else digests[id(job)]
        sealed.append(Sealed(job.story.run_id, job.attempt, digest, chain, ends[chain], line is None))
    return sealed


def _share(work: Callable[[str], None], paths: Sequence[str]) -> None:
    """Work on all paths, the threads taking every fourth one each."""

    def part(first: int) -> None:
        for path in paths[first::_THREADS]:
            work(path)

    for _ in _POOL.map(part, range(min(_THREADS, len(paths)))):
        pass


def _known(chain: Path, job: SealJob) -> ChainLine | None:
    """What an earlier try left in the chain; without a `seal.json` there was none."""
    if not job.folder.attempt(job.attempt).seal.exists():
        return None
    return find_links(chain, job.story.run_id).get(job.attempt)


def _link(job: SealJob, digest: str) -> Link:
    return Link(job.story.run_id, job.story.label, job.attempt, job.folder.relative, digest, job.at)


def _draft(job: SealJob) -> _Draft:
    """Write everything of one attempt, the seal last; nothing is synced yet."""
    folder, here = job.folder, job.folder.attempt(job.attempt)
    here.path.mkdir(parents=True, exist_ok=True)  # a script may have removed its own folder
    mode = here.path.stat().st_mode & 0o666  # control files are private, the record is as open as its folder
    for name, path in job.control.items():
        _copy(path, here.path / _COPIES.get(name, name), mode)
    write_views(folder, job.story, job.exit_record, job.artifacts, job.at, job.card)
    top = os.fspath(folder.path)
    evidence = {f"attempts/{job.attempt}/{name}": piece for name, piece in _evidence(here.path)}
    evidence |= dict(_submitted(top))
    artifacts = {found.path: piece for found in job.artifacts if (piece := weigh(located(top, found.path))) is not None}
    content = write_seal(_seal(job, evidence, artifacts))
    _replace(here.seal, content)
    beside = (folder.readme, folder.manifest, folder.events, folder.notes)
    # what was submitted is synced where it is shared; only its names are new here
    own = {name: piece for name, piece in (evidence | artifacts).items() if not name.startswith("submitted/")}
    files = [located(top, name) for name, piece in own.items() if not piece.link]
    files += [os.fspath(path) for path in (*beside, here.seal) if path.exists()]
    parents = {top, f"{top}/attempts", os.fspath(here.path)}
    for name in (*artifacts, *evidence):
        parts = name.split("/")[:-1]
        parents.update(located(top, "/".join(parts[: i + 1])) for i in range(len(parts)))
    return _Draft(hashlib.sha256(content).hexdigest(), files, sorted(parents))


def _submitted(top: str) -> Iterable[tuple[str, Piece]]:
    for folder, _, names in os.walk(f"{top}/submitted"):
        for name in sorted(names):
            path = f"{folder}/{name}"
            if (piece := weigh(path)) is not None:
                yield written(path[len(top) + 1 :]), piece


def _evidence(path: Path) -> Iterable[tuple[str, Piece]]:
    for name in sorted(os.listdir(path)):  # noqa: PTH208  names only
        if name != "seal.json" and not name.startswith("."):
            piece = weigh(f"{path}/{name}")
            if piece is not None:
                yield written(name), piece


def _seal(job: SealJob, evidence: dict[str, Piece], artifacts: dict[str, Piece]) -> Seal:
    told, spec = job.story, job.story.spec
    return Seal(
        run_id=told.run_id,
        label=told.label,
        lab=spec.lab,
        attempt=job.attempt,
        folder=job.folder.relative,
        at=job.at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        code=Code(told.tree),
        environment=Environment(spec.interpreter, spec.surroundings.variables),
        events=weigh(os.fspath(job.folder.events)) or Piece(0, hashlib.sha256().hexdigest()),
        evidence=evidence,
        artifacts=artifacts,
        superseded=tuple(_superseded(job, artifacts)),
    )


def _superseded(job: SealJob, artifacts: Mapping[str, Piece]) -> Iterable[Superseded]:
    """Name what earlier attempts sealed and is not so any more, unless a seal in between named it."""
    top = os.fspath(job.folder.path)
    named: set[tuple[int, str]] = set()
    earlier: list[Seal] = []
    for number in range(1, job.attempt):
        try:
            earlier.append(read_seal(job.folder.attempt(number).seal))
        except (OSError, StoreDamaged):
            continue  # never sealed, or found by `verify`
    for seal in earlier:
        named.update((past.attempt, past.path) for past in seal.superseded)
    for seal in earlier:
        for path, piece in seal.artifacts.items():
            now = artifacts.get(path) or weigh(located(top, path))
            if (seal.attempt, path) not in named and now != piece:
                yield Superseded(seal.attempt, path, piece.sha256)


def write_views(
    folder: Folder,
    told: Story,
    exit_record: Struct | None,
    artifacts: Sequence[Artifact],
    at: datetime,
    card: FailureCard | None,
) -> None:
    """Write README and manifest, each whole or not at all; unsynced."""
    record = to_builtins(exit_record) if exit_record is not None else None
    current = told.current
    metrics = summary_at_end(folder.attempt(current.attempt), told.spec.metrics_from) if current is not None else None
    facts = Facts(
        story=told,
        exit_record=record,
        artifacts=artifacts,
        at=at,
        metrics=metrics,
        environment=read_environment(folder),
        said=read_told(folder.notes),
        card=card,
    )
    _replace(folder.readme, readme.render(facts))
    _replace(folder.manifest, manifest.render(facts))


def _copy(source: str, target: Path, mode: int) -> None:
    """Bring a control file into the record: by a second name, for nobody writes to it any more; else by its bytes."""
    temporary = f"{target.parent}/.{target.name}.link"
    try:
        with suppress(FileNotFoundError):
            os.unlink(temporary)  # noqa: PTH108  left by a crash; it is never opened, it may be the control file itself
        os.link(source, temporary)
        os.chmod(temporary, mode)  # noqa: PTH101  on the path of every experiment
    except FileNotFoundError:
        return  # it vanished; what an earlier try copied stays
    except OSError:  # another file system, or one without links
        with suppress(FileNotFoundError):
            _replace(target, Path(source).read_bytes())
        return
    os.replace(temporary, target)  # noqa: PTH105  on the path of every experiment
    with suppress(FileNotFoundError):
        os.unlink(temporary)  # noqa: PTH108  renaming one name of a file onto another one of it leaves both


def _replace(path: Path, content: bytes) -> None:
    temporary = f"{path.parent}/.{path.name}.new"  # the same name every time: a crash leaves one at most
    with suppress(FileNotFoundError):
        os.unlink(temporary)  # noqa: PTH108  on the path of every experiment
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)
    os.replace(temporary, path)  # noqa: PTH105  on the path of every experiment


def _folders(drafts: Sequence[_Draft], jobs: Sequence[SealJob]) -> dict[str, None]:
    """Folders to sync, each once, inner ones first."""
    inner = dict.fromkeys(path for draft in drafts for path in draft.folders)
    outer = dict.fromkeys(
        os.fspath(path) for job in jobs for path in (job.folder.month, job.folder.lab, job.folder.lab.parent)
    )
    return inner | outer


def _begin_writing(path: str) -> None:
    """Let the kernel begin to write a file: when all have their blocks, the first sync commits for the others too.

    Only a hint, without which all is as durable and slower.

    Source:
        sync_file_range(2), SYNC_FILE_RANGE_WRITE = 2; ext4 allocates blocks when it begins to write.
    """
    with suppress(OSError, AttributeError):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            _LIBC.sync_file_range(fd, ctypes.c_int64(0), ctypes.c_int64(0), 2)
        finally:
            os.close(fd)


def _sync_file(path: str) -> None:
    _sync(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)


def _sync_folder(path: str) -> None:
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: str, flags: int) -> None:
    try:
        fd = os.open(path, flags)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return  # it vanished or is closed to us, and the seal says so
    try:
        if stat.S_ISREG(os.fstat(fd).st_mode) or flags & os.O_DIRECTORY:
            os.fsync(fd)
    finally:
        os.close(fd)


class _Listed(Struct, frozen=True):
    files: tuple[Artifact, ...] = ()


class _Manifest(Struct, frozen=True):
    artifacts: _Listed = _Listed()


def read_artifacts(folder: Folder) -> tuple[Artifact, ...]:
    """Read what an experiment left behind from its manifest; nothing when that is not there or torn."""
    try:
        return msgspec.json.decode(folder.manifest.read_bytes(), type=_Manifest).artifacts.files
    except (OSError, msgspec.DecodeError):
        return ()


def seal_digests(folder: Folder) -> dict[int, str]:
    """SHA-256 of each attempt's `seal.json`, those that are sealed."""
    found = {}
    for number in folder.numbers():
        piece = weigh(os.fspath(folder.attempt(number).seal))
        if piece is not None and piece.sha256 is not None:
            found[number] = piece.sha256
    return found
