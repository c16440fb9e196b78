"""From a claimed row to an attempt that can be launched: order, folder, code, variables."""

import asyncio
import errno
import hashlib
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

from msgspec import structs, to_builtins

from labrun.core.errors import StoreDamaged
from labrun.core.events import Cloned, Dispatched
from labrun.core.ids import attempt_id, folder_name
from labrun.core.rerun import fill
from labrun.core.spec import Spec
from labrun.engines.protocol import LaunchOrder
from labrun.store.folder import Folder
from labrun.store.journal import Journal
from labrun.store.notes import move_into
from labrun.store.objects import sync
from labrun.store.queue.protocol import Row
from labrun.store.sharing import lay_out
from labrun.worker import staging
from labrun.worker.floor import OpenExperiment, claimed_folder
from labrun.worker.parts import Parts
from labrun.worker.patience import is_any, patiently
from labrun.worker.submitted import STDIN_PLACE

_TRIES = 5
SKIPPED = {"building": "the caller's environment is used", "fetching": "no data was declared"}
"""Steps that have nothing to do yet, with the reason shown."""


def folder_of(row: Row) -> str:
    """Choose where an experiment's folder will lie, relative to the home; the same for every attempt."""
    if row.folder is not None:
        return row.folder
    name = folder_name(row.label, row.spec.name, Path(row.spec.target.name).stem)
    return f"labs/{row.spec.lab}/{row.queued_at:%Y-%m}/{name}"


def new_key() -> str:
    """Draw the random key an attempt's processes are recognised by."""
    return secrets.token_hex(16)


def build_order(parts: Parts, row: Row, folder: str, key: str, gpus: tuple[int, ...]) -> LaunchOrder:
    """Say everything the supervisor needs; paths are known before the folder exists."""
    spec, here = row.spec, parts.home.root / folder
    attempt_dir = here / "attempts" / str(row.attempt)
    work = here / "work"
    variables = {
        **_told(spec, here),
        "LAB_HOME": str(parts.home.root),
        "LAB_EXPERIMENT": row.label,
        "LAB_RUN_ID": row.run_id,
        "LAB_ATTEMPT": str(row.attempt),
        "LAB_FOLDER": str(here),
        "LAB_OUTPUT_PATH": str(here / "outputs"),
        "AICHOR_OUTPUT_PATH": str(here / "outputs"),
        "LAB_METRICS": str(attempt_dir / "metrics.jsonl"),
        "LAB_ATTEMPT_KEY": key,
        # the copy of the code lies below the home: git must not climb out of it into a surrounding repository
        "GIT_CEILING_DIRECTORIES": str(here),
    }
    if spec.resources.gpu_count is not None or spec.resources.gpus_needed:
        variables["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, gpus))
    digest = spec.surroundings.variables
    return LaunchOrder(
        attempt_id=attempt_id(row.run_id, row.attempt),
        argv=fill(_argv(spec, work), {file.name: str(here / "staged" / file.name) for file in spec.staged}),
        cwd=spec.source.cwd if spec.source.cwd_is_live else str(work / spec.source.cwd),
        variables_file=str(variables_path(parts, digest)) if digest else None,
        variables=variables,
        variable_defaults={"PYTHONUNBUFFERED": "1"},
        stdin=str(here / "submitted" / STDIN_PLACE) if spec.stdin == "spooled" else None,
        stdout=str(attempt_dir / "stdout.log"),
        stderr=str(attempt_dir / "stderr.log"),
        log_index=str(attempt_dir / "log.idx"),
        usage=str(attempt_dir / "usage.jsonl"),
        terminal=spec.terminal if spec.stdin == "terminal" else None,
        umask=spec.surroundings.umask,
        nice=spec.surroundings.nice,
        affinity=spec.surroundings.affinity,
        limits=spec.surroundings.limits,
        timeout_s=spec.timeout_s,
        grace_s=spec.grace_s,
        memory_bytes=spec.resources.memory_bytes,
        log_quota_bytes=parts.policy.log_quota_bytes,
        key=key,
        context={"label": row.label, "queued_at": row.queued_at.isoformat(), "spec": to_builtins(spec)},
    )


def _told(spec: Spec, here: Path) -> dict[str, str]:
    """What the experiment is told of itself, by variables."""
    told = {"LAB_SEED": str(spec.seed)} if spec.seed is not None else {}
    if spec.name is not None:
        told["LAB_NAME"] = spec.name
    if spec.configs:
        places = [str(here / config.place) for config in spec.configs]
        told |= {"LAB_CONFIG": places[0], "LAB_CONFIGS": os.pathsep.join(places)}
    if spec.inputs:
        inputs = here / "inputs"
        told |= {"LAB_INPUT_PATH": str(inputs), "AICHOR_INPUT_PATH": str(inputs)}
        told |= {f"LAB_INPUT_{data.name.upper()}": str(inputs / data.name) for data in spec.inputs}
    if spec.source.import_path is not None:
        entries = (
            str(here / "work" / entry[2:]) if entry.startswith("./") else entry for entry in spec.source.import_path
        )
        told["PYTHONPATH"] = os.pathsep.join(entries)
    return told


def _argv(spec: Spec, work: Path) -> tuple[str, ...]:
    """The command line; a script named by its place in the source root is the frozen one, also for a caller outside."""
    argv, root = spec.target.argv, spec.source.root
    is_frozen = root is not None and spec.source.tree is not None and not spec.source.is_live
    if spec.target.kind != "script" or root is None or not is_frozen or len(argv) < 2:
        return argv
    script = Path(argv[1])
    if not script.is_absolute() or not script.is_relative_to(root):
        return argv
    return (argv[0], str(work / script.relative_to(root)), *argv[2:])


def variables_path(parts: Parts, digest: str) -> Path:
    """Where the caller's variables lie while an experiment that uses them is open."""
    return parts.home.env / f"{digest}.json"


def note_dispatch(parts: Parts, experiment: OpenExperiment) -> None:
    """Record the claim, once."""
    if experiment.is_waiting:
        at, row = experiment.row.claimed_at or parts.clock.now(), experiment.row
        experiment.record(Dispatched(at=at, attempt=row.attempt, worker=parts.name, gpus=row.gpus))
        parts.floor.moved(experiment)


async def prepare(parts: Parts, experiment: OpenExperiment) -> bool:
    """Bring a claimed attempt to the point of launching. Bears repetition after a crash.

    Returns:
        False when it was cancelled meanwhile.

    Raises:
        LabError: The code or the variables cannot be brought back; the attempt cannot start.
        OSError: The code cannot be laid out, and waiting would not help.
    """

    async def lay_out() -> None:
        ensure_folder(parts, experiment)
        _ensure_variables(parts, experiment.row)

    async def clone() -> None:
        await _clone(parts, experiment)

    return await patiently(parts, experiment, lay_out, is_any) and await patiently(parts, experiment, clone)


def ensure_folder(parts: Parts, experiment: OpenExperiment) -> None:
    """Make an experiment's folder and this attempt's in it, and write down what happened so far. Bears repetition."""
    row = experiment.row
    if experiment.folder is None or experiment.journal is None:
        experiment.folder = Folder(claimed_folder(row, parts.home.root))
        experiment.folder.create()
        experiment.journal = Journal(experiment.folder.events)
    move_into(parts.home, row.run_id, experiment.folder)
    experiment.folder.attempt(row.attempt).create()  # with empty logs, so that followers can watch them
    experiment.write_down()


def _ensure_variables(parts: Parts, row: Row) -> None:
    digest = row.spec.surroundings.variables
    if digest is None:
        return
    path = variables_path(parts, digest)
    with suppress(FileNotFoundError):
        if hashlib.sha256(path.read_bytes()).hexdigest() == digest:
            return  # checked, not trusted: it was never synced
    content = parts.queue.variables(digest)
    if content is None:
        raise StoreDamaged(str(parts.home.queue), f"the variables of {row.label} are gone; submit it again")
    temporary = path.with_suffix(f".{secrets.token_hex(4)}")
    temporary.touch(mode=0o600)
    temporary.write_bytes(content)
    temporary.rename(path)


async def _clone(parts: Parts, experiment: OpenExperiment) -> None:
    row, folder = experiment.row, experiment.folder
    assert folder is not None
    tree = row.spec.source.tree
    source = row.spec.source
    await asyncio.to_thread(_lay_out_submitted, parts, row.spec, folder)
    if row.spec.staged:
        sources = staging.originals(parts, row.spec)
        await asyncio.to_thread(staging.lay_out, sources, row.spec, folder, row.attempt)
    if tree is None or source.is_live:
        skipped = {
            "cloning": "--live: it runs in the source folder" if source.is_live else "no code was frozen",
            **SKIPPED,
        }
        (folder.work / _frozen_cwd(row)).mkdir(parents=True, exist_ok=True)
        experiment.record(Cloned(at=parts.clock.now(), attempt=row.attempt, skipped=skipped))
        return
    done = await asyncio.to_thread(parts.code.checkout, tree, folder.work, keep_changed=row.attempt > 1)
    for link in source.links:
        _link(folder.work / link.place, link.target)
    (folder.work / _frozen_cwd(row)).mkdir(parents=True, exist_ok=True)
    experiment.record(
        Cloned(
            at=parts.clock.now(),
            attempt=row.attempt,
            tree=tree,
            file_count=done.file_count,
            skipped=SKIPPED,
            kept=done.kept,
        )
    )


def _lay_out_submitted(parts: Parts, spec: Spec, folder: Folder) -> None:
    """Write what was submitted beside the code, and a link to each declared input. Bears repetition."""
    if spec.submitted is not None:
        for _ in range(_TRIES):
            shared = lay_out(parts.code, spec.submitted, parts.home.submitted)
            with suppress(FileNotFoundError):
                _link_tree(shared, folder.submitted)
                if shared.is_dir():
                    break
            # a purge just removed it, for no experiment had a file of it
        else:
            raise StoreDamaged(str(parts.home.submitted / spec.submitted), "it vanishes while it is read")
    for data in spec.inputs:
        _link(folder.inputs / data.name, data.path)


def _link_tree(shared: Path, place: Path) -> None:
    """Give the experiment its own names for files that many have alike."""
    for here, _, names in os.walk(shared):
        target = place / Path(here).relative_to(shared)
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            with suppress(FileExistsError):
                _share(Path(here, name), target / name)


def _share(shared: Path, place: Path) -> None:
    try:
        place.hardlink_to(shared)
    except OSError as error:
        if error.errno not in (errno.EMLINK, errno.EXDEV, errno.EPERM, errno.ENOTSUP):
            raise
        # as many names as the file system allows (65,000 on ext4), or links it does not allow at all
        copy = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
        shutil.copyfile(shared, copy)
        copy.chmod(0o444)
        sync(copy)
        copy.rename(place)


def _link(place: Path, target: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):  # from an earlier try, or the script put something there
        place.symlink_to(target)


def _frozen_cwd(row: Row) -> str:
    return "." if row.spec.source.cwd_is_live else row.spec.source.cwd


def claimed(row: Row, folder: str, key: str, gpus: tuple[int, ...], parts: Parts, fence: int) -> Row:
    """The row as it is after its claim was committed."""
    return structs.replace(
        row,
        state="claimed",
        folder=folder,
        key=key,
        gpus=gpus,
        worker=parts.name,
        claimed_at=row.claimed_at or parts.clock.now(),
        fence=fence,
    )
