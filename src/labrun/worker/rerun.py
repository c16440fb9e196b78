"""A new experiment from an old spec: the same again, or with other arguments, files and values.

The old experiment is only read. The new one has it as its parent, and a definition of its own.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import structs, to_builtins

from labrun.capture.caller import host_name, is_executable
from labrun.capture.configs import take_config
from labrun.capture.import_paths import not_frozen_arguments
from labrun.capture.live import describe_live
from labrun.capture.resolve import ChangedFields
from labrun.capture.target import check_size
from labrun.core import changes
from labrun.core.arguments import combine
from labrun.core.definition import definition_of
from labrun.core.described import describe
from labrun.core.errors import BadValue, NotAllowedNow, NotRunnable
from labrun.core.rerun import arguments_of, check_placeholders, with_arguments
from labrun.core.spec import ConfigFile, NotFrozen, Spec, Staged
from labrun.store.chain import find_cancelled
from labrun.store.queue.protocol import Row
from labrun.wire.requests import Rerun, Submit
from labrun.wire.responses import DescriptionView, Experiment
from labrun.worker import accept, staging
from labrun.worker.floor import OpenExperiment
from labrun.worker.lookup import read_story
from labrun.worker.parts import Parts
from labrun.worker.submitted import STDIN_PLACE, capture_here, environment_of, hash_inputs, submitted_files, take_in

NO_CHANGES = ChangedFields({}, False, {}, None, {})


class Origin(NamedTuple):
    """The old experiment."""

    run_id: str
    label: str
    spec: Spec
    folder: Path | None
    """None before its first attempt, also when it was cancelled there."""


class Planned(NamedTuple):
    """A rerun that was worked out and checked; nothing is frozen yet."""

    origin: Origin
    spec: Spec
    is_fresh: bool
    """The code is taken as it is now."""
    notices: list[str]


def origin_of(parts: Parts, found: OpenExperiment | Experiment, action: str) -> Origin:
    """Read what an experiment was told to run.

    Raises:
        NotAllowedNow: It is deleted, or was cancelled while it waited by a version that kept no spec.
        StoreDamaged: Its journal cannot be read.
    """
    if isinstance(found, OpenExperiment):
        folder = found.folder.path if found.folder is not None else None
        return Origin(found.run_id, found.row.label, found.row.spec, folder)
    check_there(found, action)
    if found.folder is None:
        line = find_cancelled(parts.home.labs / found.lab, found.run_id)
        if line is None or line.spec is None:
            status = "cancelled while it waited, and what it should run was not kept"
            raise NotAllowedNow(action, found.label, status, "waiting, running, or over after it had started")
        return Origin(found.run_id, found.label, line.spec, None)
    return Origin(found.run_id, found.label, read_story(found).spec, Path(found.folder))


def check_there(found: Experiment, action: str) -> None:
    """Refuse what needs a folder that was deleted.

    Raises:
        NotAllowedNow: It was.
    """
    if found.deleted_at is not None:
        raise NotAllowedNow(action, found.label, "deleted", f"there; `lab undelete {found.label}` brings it back")


def described(parts: Parts, found: OpenExperiment | Experiment) -> DescriptionView:
    """Write an experiment as a person would."""
    origin = origin_of(parts, found, "clone")
    spec, folder = origin.spec, origin.folder
    staged = {file.name: f"{folder}/staged/{file.name}" for file in spec.staged} if folder is not None else {}
    notices = ["its environment variables are not in it: those of your shell count when it is queued"]
    if spec.is_seed_drawn:
        notices.append(f"its seed {spec.seed} was drawn, so another one is drawn; `seed: {spec.seed}` keeps it")
    if spec.pod is not None:
        notices.append(f"its resources came from the pod `{spec.pod}`")
    if spec.stdin == "spooled":
        notices.append(f"it reads standard input; what it read is in {folder}/submitted/{STDIN_PLACE}")
    if spec.stdin == "terminal":
        notices.append("it ran in a terminal: `lab run -i -f FILE`")
    if spec.staged:
        notices.append("staged files are named by their copies; `lab requeue --stage` copies them anew")
    return DescriptionView(
        origin.label, origin.run_id, describe(spec, parent=origin.label, staged=staged), notices=tuple(notices)
    )


async def plan(
    parts: Parts, found: OpenExperiment | Experiment, request: Rerun, changed: ChangedFields = NO_CHANGES
) -> Planned:
    """Work out and check a rerun; changes nothing.

    Args:
        parts: The worker's world.
        found: The old experiment.
        request: What was asked for.
        changed: What its `changes` mean.

    Raises:
        RequestError: It cannot be.
    """
    origin = origin_of(parts, found, request.kind)
    if request.kind == "resubmit" and (request.arguments or request.staged or request.changes):
        raise BadValue("resubmit", "with changes", "the same again", hint="`requeue` takes changes")
    spec, notices = _told(origin, request, changed), list[str]()
    if request.staged:
        if origin.folder is None:
            raise NotAllowedNow("stage files of", origin.label, "there without a folder: it never started", "started")
        staged = await asyncio.to_thread(_stage, parts, origin, request.staged)
        spec = structs.replace(spec, staged=staged)
    has_placeholder = check_placeholders(spec.target.argv, [file.name for file in spec.staged])
    if request.staged and not has_placeholder:
        notices.append("no argument says `{staged}`: the files are copied to `staged/`, and nothing points there")
    variables = {**request.variables, **changed.variables}
    accept.check(spec, variables, parts)
    check_size(spec.target.argv, variables)
    if spec.interpreter is not None and not is_executable(Path(spec.interpreter)):
        raise NotRunnable(
            spec.interpreter, "the Python it ran with is gone", "`lab fork --set python=PATH` names another"
        )
    is_fresh = request.code == "now" or spec.source.is_live
    if is_fresh and spec.source.is_elsewhere:
        raise BadValue(
            "--code", "now", f"`same`: its source folder is on {origin.spec.host}", hint="submit it anew from there"
        )
    if spec.source.is_live and request.code == "same":
        notices.append(f"it runs live in {spec.source.cwd}: with what lies there then")
    return Planned(origin, spec, is_fresh, notices)


def _told(origin: Origin, request: Rerun, changed: ChangedFields) -> Spec:
    """The old spec with new words: arguments, values, who asks."""
    arguments = combine(arguments_of(origin.spec), request.arguments, request.mode)
    if request.kind == "resubmit":
        arguments = list(arguments_of(origin.spec))
    spec = with_arguments(origin.spec, arguments)
    plain: dict[str, Any] = to_builtins(spec)
    new = dict(changed.spec)
    plain["narrative"] = {**plain.get("narrative", {}), **new.pop("narrative", {}), "parent_run": origin.run_id}
    if "resources" in new:
        kept = {} if changed.has_new_resources else plain.get("resources", {})
        plain["resources"] = {**kept, **new.pop("resources")}
    if "interpreter" in new and spec.interpreter is not None:
        argv = plain["target"]["argv"]
        plain["target"] = {**plain["target"], "argv": (new["interpreter"], *argv[1:])}
    plain |= {**new, "host": host_name(), "user": request.by or spec.user}
    return msgspec.convert(plain, Spec)


def _stage(parts: Parts, origin: Origin, given: tuple[str, ...]) -> tuple[Staged, ...]:
    assert origin.folder is not None
    staged = tuple(staging.look(parts, origin.run_id, origin.label, origin.folder, path) for path in given)
    staging.check_names(staged)
    return staged


async def submit(
    parts: Parts, planned: Planned, request: Rerun, changed: ChangedFields, key: str | None
) -> tuple[OpenExperiment | Row, list[str]]:
    """Freeze what a planned rerun brings, and accept it durably.

    Raises:
        RequestError: Something it needs is gone; nothing was accepted.
        WorldError: Something cannot be read or stored.
    """
    variables = {**request.variables, **changed.variables}
    take = _take_now if planned.is_fresh else _take_over
    spec, notices = await asyncio.to_thread(take, parts, planned, variables, changed)
    taken, more = await accept.enter(parts, spec, variables, key, (planned.origin.run_id, request))
    return taken, [*planned.notices, *notices, *more]


def _take_now(
    parts: Parts, planned: Planned, variables: Mapping[str, str], changed: ChangedFields
) -> tuple[Spec, list[str]]:
    """Take the source folder and everything else as it is now, as a submit does."""
    old = planned.origin.spec
    configs = [config.path for config in old.configs] if changed.configs is None else changed.configs
    request = Submit(
        spec=planned.spec,
        variables=dict(variables),
        configs=tuple(configs),
        inputs=_input_paths(old, changed),
        links=tuple(link.place for link in old.source.links),
        stdin=submitted_files(parts, old.submitted).get(STDIN_PLACE),
    )
    return take_in(parts, request, planned.spec)


def _take_over(
    parts: Parts, planned: Planned, variables: Mapping[str, str], changed: ChangedFields
) -> tuple[Spec, list[str]]:
    """Take the frozen code and configuration of the old experiment, and the environment as it is now.

    The packages may have changed since, and the variables are the caller's: to repeat the old record
    of them would claim what nobody looked at.
    """
    old, label = planned.origin.spec, planned.origin.label
    spec, notices = planned.spec, list[str]()
    submitted = submitted_files(parts, old.submitted)
    environment, fresh = capture_here(spec, variables, parts, submitted)
    told = [change.text for change in changes.environments(environment_of(submitted), environment)]
    if told:
        notices.append(f"not as it was for {label}: {'; '.join(told)}")
    submitted |= fresh
    configs: tuple[ConfigFile, ...] = old.configs
    if changed.configs is not None:
        submitted = {place: content for place, content in submitted.items() if not place.startswith("config/")}
        configs = tuple(take_config(path, submitted) for path in changed.configs)
    inputs = hash_inputs(parts, _input_paths(old, changed))
    before = {data.name: data.sha256 for data in old.inputs}
    notices += [
        f"input `{data.name}` is not what {label} read: {data.path}"
        for data in inputs
        if data.name not in changed.inputs and before.get(data.name) != data.sha256
    ]
    gone = [link.target for link in spec.source.links if not Path(link.target).exists()]
    notices += [f"a place that stays live is gone: {target}" for target in gone]
    source = structs.replace(spec.source, not_frozen=_not_frozen(spec))
    stdin = submitted.get(STDIN_PLACE)
    digest = hashlib.sha256(stdin).hexdigest() if spec.stdin == "spooled" and stdin is not None else None
    spec = structs.replace(
        spec, source=source, configs=configs, inputs=inputs, submitted=parts.code.store_files(submitted)
    )
    return structs.replace(spec, definition=definition_of(spec, digest)), notices


def _input_paths(old: Spec, changed: ChangedFields) -> dict[str, str]:
    return {**{data.name: data.path for data in old.inputs}, **changed.inputs}


def _not_frozen(spec: Spec) -> tuple[NotFrozen, ...]:
    """What it uses that was not copied, as it is now."""
    source = spec.source
    kept = [one for one in source.not_frozen if one.kind != "argument"]
    root = Path(source.root) if source.root is not None else None
    cwd = Path(source.cwd) if source.cwd_is_live or root is None else root / source.cwd
    now = [describe_live(one.kind, Path(one.path), with_repository=one.commit is not None) for one in kept]
    return (*now, *not_frozen_arguments(arguments_of(spec), root=root, cwd=cwd))
