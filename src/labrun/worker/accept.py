"""The door: a request becomes a durable experiment, or nothing happens at all."""

import asyncio
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import structs

from labrun.core import lifecycle, story
from labrun.core.errors import BadValue
from labrun.core.events import EVENT, ResumeRequested
from labrun.core.ids import new_run_id
from labrun.core.printed_metrics import reader_of
from labrun.core.schedule import check_possible
from labrun.core.spec import SPEC_VERSION, Spec
from labrun.core.story import Story
from labrun.store.folder import Folder
from labrun.store.journal import Journal
from labrun.store.queue.protocol import NewRow, Row
from labrun.wire.requests import Submit
from labrun.wire.responses import Experiment
from labrun.worker import lookup
from labrun.worker.delivered import take_delivered
from labrun.worker.floor import OpenExperiment, accepted
from labrun.worker.parts import Parts
from labrun.worker.submitted import take_in

NAME_LIMIT = 200
LAB_LIMIT_BYTES = 64
_ARGUMENT_LIMIT_BYTES = 131071  # MAX_ARG_STRLEN, execve(2): 32 pages of 4 KiB, terminating zero included


async def accept(
    parts: Parts, lab: str, request: Submit, key: str | None
) -> tuple[OpenExperiment | Experiment | Row, list[str], bool]:
    """Accept one experiment durably.

    Returns:
        The experiment (its last row when the idempotency key is an old one and it is over), what the
        user should be told, and whether it is an earlier one of the same definition.

    Raises:
        RequestError: The spec is wrong; nothing was changed.
        WorldError: The home did not take it; nothing was accepted.
    """
    spec = _ours(structs.replace(request.spec, lab=lab), is_elsewhere=request.delivered is not None)
    check(spec, request.variables, parts)
    spec = _with_parent(parts, spec)
    take = take_in if request.delivered is None else take_delivered
    spec, notices = await asyncio.to_thread(take, parts, request, spec)
    if request.duplicates == "reuse" and (earlier := similar(parts, spec, is_usable=True)) is not None:
        return earlier, notices, True
    taken, more = await enter(parts, spec, request.variables, key, request)
    return taken, [*notices, *more], False


async def enter(
    parts: Parts, spec: Spec, given: Mapping[str, str], key: str | None, request: object
) -> tuple[OpenExperiment | Row, list[str]]:
    """Put a complete spec in line, durably.

    Args:
        parts: The worker's world.
        spec: Checked, with everything frozen.
        given: Variables of the caller.
        key: Idempotency key.
        request: What the key stands for.

    Returns:
        The experiment (its last row when the key is an old one and it is over), and what should be said.

    Raises:
        KeyReused: The key came with another request.
        WorldError: The home did not take it; nothing was accepted.
    """
    variables = msgspec.json.encode(dict(sorted(given.items()))) if given else None
    digest = hashlib.sha256(variables).hexdigest() if variables is not None else None
    spec = structs.replace(spec, surroundings=structs.replace(spec.surroundings, variables=digest))
    now = parts.clock.now()
    row, is_new = await parts.queue.put(
        NewRow(
            run_id=new_run_id(now, os.urandom(5)),
            spec=spec,
            queued_at=now,
            variables=variables,
            request_key=key,
            request_hash=hashlib.sha256(msgspec.json.encode(request)).hexdigest() if key else None,
        )
    )
    known = parts.floor.get(row.run_id)
    if known is not None:
        return known, []
    if not is_new:
        return row, []
    experiment = OpenExperiment(row, story.open_story(accepted(row)))
    experiment.keep(accepted(row))
    parts.floor.add(experiment)
    return experiment, _counted_only(parts, spec)


def similar(
    parts: Parts, spec: Spec, *, run_id: str = "", is_usable: bool = False
) -> OpenExperiment | Experiment | None:
    """The newest other experiment of the same definition in this lab.

    Args:
        parts: The worker's world.
        spec: Accepted, or about to be.
        run_id: The one to leave out.
        is_usable: Only one that may stand for it: on the same code, and neither failed nor cancelled.
    """
    for number in sorted(parts.floor.defined(spec.definition or ""), reverse=True):
        found = parts.floor.by_label(number)
        if found is None or found.run_id == run_id or found.row.spec.lab != spec.lab:
            continue
        is_good = lifecycle.status_of(found.story.state) not in ("failed", "cancelled")
        if not is_usable or (is_good and found.row.spec.source.tree == spec.source.tree):
            return found
    for ended in parts.index.by_definition(spec.definition or "", spec.lab):
        if ended.run_id != run_id and (
            not is_usable or (ended.status == "succeeded" and ended.tree == spec.source.tree)
        ):
            return ended
    return None


def _with_parent(parts: Parts, spec: Spec) -> Spec:
    """Resolve the reference of a parent to its run id.

    Raises:
        NotFound: There is no such experiment.
        AmbiguousReference: There are several.
    """
    reference = spec.narrative.parent_run
    if reference is None:
        return spec
    parent = lookup.find(parts, reference, spec.lab)
    return structs.replace(spec, narrative=structs.replace(spec.narrative, parent_run=parent.run_id))


async def reopen(parts: Parts, told: Story, folder: Path, variables: Mapping[str, str], by: str) -> OpenExperiment:
    """Let an ended experiment wait again: same folder, same code, next attempt."""
    check_variables(variables)
    attempt = told.state.attempt + 1
    content = msgspec.json.encode(dict(sorted(variables.items()))) if variables else None
    digest = hashlib.sha256(content).hexdigest() if content is not None else None
    spec = structs.replace(told.spec, surroundings=structs.replace(told.spec.surroundings, variables=digest))
    number = int(told.label.rpartition("-")[2])
    row = await parts.queue.reopen(
        Row(
            run_id=told.run_id,
            label=told.label,
            label_number=number,
            sequence=0,
            spec=spec,
            queued_at=told.queued_at,
            attempt=attempt,
            state="waiting",
            folder=str(folder.relative_to(parts.home.root)),
        ),
        content,
    )
    experiment = OpenExperiment(row, told)
    experiment.folder = Folder(folder)
    experiment.journal = Journal(experiment.folder.events)
    experiment.take_over(told, experiment.journal.read(EVENT)[0])
    experiment.record(ResumeRequested(at=parts.clock.now(), attempt=attempt, by=by))
    async with parts.floor.sharing_lock:
        parts.floor.add(experiment)
    parts.index.remove(told.run_id)  # it holds what is over
    return experiment


def _ours(spec: Spec, *, is_elsewhere: bool) -> Spec:
    """Without what only the server may say: hashes become paths and objects of the store."""
    source = structs.replace(
        spec.source, tree=None, is_elsewhere=is_elsewhere, links=(), import_path=None, not_frozen=()
    )
    surroundings = structs.replace(spec.surroundings, variables=None)
    return structs.replace(
        spec,
        source=source,
        surroundings=surroundings,
        configs=(),
        inputs=(),
        staged=(),
        submitted=None,
        definition=None,
    )


def check(spec: Spec, variables: Mapping[str, str], parts: Parts) -> None:
    """Refuse a spec that cannot be run as it is.

    Raises:
        RequestError: Something is wrong with it.
    """
    if spec.version > SPEC_VERSION:
        raise BadValue("spec version", spec.version, f"at most {SPEC_VERSION}, which this server knows")
    if not 1 <= spec.priority <= 10:
        raise BadValue("priority", spec.priority, "a whole number from 1 to 10")
    if not spec.target.argv:
        raise BadValue("command", "", "a command with at least one word")
    source, interpreter = spec.source, spec.interpreter or ""
    words = (*spec.target.argv, spec.target.name, interpreter, source.root or "", source.cwd, *source.only)
    told = spec.narrative
    said = (told.hypothesis, told.context, told.intent, told.expected_outcome, told.parent_run, told.experiment_group)
    texts = (*words, spec.lab, spec.name, spec.note, spec.user, spec.host, *said, *told.tags, *spec.expected_outputs)
    for text in (text or "" for text in texts):
        if "\0" in text:
            raise BadValue("text", text, "text without NUL bytes")
    check_variables(variables)
    for i, word in enumerate(spec.target.argv):
        if len(word.encode("utf-8", "surrogateescape")) > _ARGUMENT_LIMIT_BYTES:
            what = f"argument {i} of {len(word):,} characters"
            raise BadValue(what, word[:20], "at most 131,071 bytes", hint="write it to a file and pass its name")
    if spec.name is not None and not 1 <= len(spec.name) <= NAME_LIMIT:
        raise BadValue("name", spec.name, f"1 to {NAME_LIMIT} characters")
    is_plain = spec.lab.isprintable() and not any(c in spec.lab for c in "/\\")
    is_short = 1 <= len(spec.lab.encode("utf-8", "surrogatepass")) <= LAB_LIMIT_BYTES
    if not is_short or not is_plain or spec.lab.startswith("."):
        raise BadValue("lab", spec.lab, f"a plain folder name of at most {LAB_LIMIT_BYTES} bytes")
    if spec.timeout_s is not None and spec.timeout_s <= 0:
        raise BadValue("timeout", spec.timeout_s, "more than zero seconds")
    if spec.grace_s < 0:
        raise BadValue("grace", spec.grace_s, "zero seconds or more")
    cwd = Path(spec.source.cwd)
    if spec.source.cwd_is_live != cwd.is_absolute() or ".." in cwd.parts:
        raise BadValue("working directory", spec.source.cwd, "relative to the source root, or absolute when live")
    if spec.source.is_live and not spec.source.cwd_is_live:
        raise BadValue("working directory", spec.source.cwd, "absolute, for it runs live")
    if source.is_elsewhere and (source.cwd_is_live or source.root is None or source.only):
        raise BadValue("source", source.cwd, "a folder that was uploaded, and a place in it")
    if (spec.stdin == "terminal") != (spec.terminal is not None):
        raise BadValue("stdin", spec.stdin, "`terminal` together with the size of one")
    if spec.seed is not None and spec.seed < 0:
        raise BadValue("seed", spec.seed, "zero or more")
    for glob in spec.expected_outputs:
        if glob.startswith("/") or ".." in glob.split("/") or not glob:
            raise BadValue("output", glob, "a pattern below the working folder or `outputs/`")
    for name in spec.source.only:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise BadValue("path", name, "below the source root")
    wanted = spec.resources
    sizes = (("memory", wanted.memory_bytes), ("GPU memory", wanted.gpu_memory_bytes), ("disk", wanted.disk_bytes))
    for what, asked in (("CPUs", wanted.cpus), *sizes):
        if asked is not None and asked < 1:
            raise BadValue(what, asked, "one or more")
    if spec.resources.gpu_count is not None and spec.resources.gpu_count < 0:
        raise BadValue("GPUs", spec.resources.gpu_count, "zero or more")
    check_possible(spec.resources, parts.capacity)
    if spec.metrics_from is not None:
        reader_of(spec.metrics_from)


def check_variables(variables: Mapping[str, str]) -> None:
    """Refuse what no process can be given.

    Raises:
        BadValue: A name is empty or holds `=`, or a NUL byte is somewhere.

    Source:
        environ(7): strings of the form name=value, terminated by a NUL byte.
    """
    for name, value in variables.items():
        if not name or "=" in name or "\0" in name or "\0" in value:
            raise BadValue("environment variable", name, "a name without = and NUL, and text without NUL")


def _counted_only(parts: Parts, spec: Spec) -> list[str]:
    counted = [
        name for name, asked in (("CPUs", spec.resources.cpus), ("GPUs", spec.resources.gpu_count)) if asked is not None
    ]
    if spec.resources.memory_bytes is not None and not parts.engine.capabilities.enforces_memory:
        counted.append("memory")
    return [f"{' and '.join(counted)}: counted, not enforced on this host"] if counted else []
