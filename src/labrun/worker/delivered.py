"""A submit from another machine: its code was uploaded before, what runs it is looked at here."""

import hashlib
from pathlib import Path

from msgspec import structs

from labrun.capture.caller import host_name, is_executable
from labrun.capture.environment import ENVIRONMENT_PLACE
from labrun.core.definition import definition_of
from labrun.core.errors import BadValue, NotRunnable, StoreDamaged
from labrun.core.spec import Spec
from labrun.wire.requests import Submit
from labrun.wire.transfer import Delivered
from labrun.worker.parts import Parts
from labrun.worker.submitted import capture_here, hash_inputs, revealing_notice, spool_stdin, submitted_files

THERE_PLACE = "submitted_from.json"
"""What `environment.json` says of the machine it was submitted from."""


def take_delivered(parts: Parts, request: Submit, spec: Spec) -> tuple[Spec, list[str]]:
    """Complete a spec whose code was uploaded; durable when this returns. Blocks.

    Raises:
        RequestError: Something was not uploaded, or is not here; nothing was accepted.
        WorldError: Something cannot be read or stored.
    """
    delivered = request.delivered
    assert delivered is not None
    for what, tree in (("code", delivered.tree), ("what goes with it", delivered.brought)):
        _check_whole(parts, what, tree)
    if spec.interpreter is not None and not is_executable(Path(spec.interpreter)):
        raise NotRunnable(spec.interpreter, f"there is no such Python on {host_name()}", "name one: `--python PATH`")
    source = structs.replace(spec.source, tree=delivered.tree, import_path=_import_path(request, delivered))
    spec = structs.replace(spec, source=source)
    submitted = submitted_files(parts, delivered.brought)
    environment, fresh = capture_here(spec, request.variables, parts, submitted)
    if ENVIRONMENT_PLACE in submitted:
        submitted[THERE_PLACE] = submitted[ENVIRONMENT_PLACE]
    submitted |= fresh
    stdin_sha256 = spool_stdin(request, spec, submitted)
    for config in delivered.configs:
        content = submitted.get(config.place.removeprefix("submitted/"))
        if content is None or hashlib.sha256(content).hexdigest() != config.sha256:
            raise BadValue("config", config.path, "a file that was uploaded")
    inputs = hash_inputs(parts, request.inputs)
    spec = structs.replace(spec, configs=delivered.configs, inputs=inputs, submitted=parts.code.store_files(submitted))
    notices = revealing_notice(spec)
    if environment.python is None and spec.interpreter is not None:
        notices.append(f"packages are not recorded: {spec.interpreter} does not say what it is")
    return structs.replace(spec, definition=definition_of(spec, stdin_sha256)), notices


def _check_whole(parts: Parts, what: str, tree: str) -> None:
    try:
        parts.code.entries(tree)
    except (StoreDamaged, ValueError) as error:
        raise BadValue(what, tree, f"a tree that was uploaded as a whole ({error})") from error


def _import_path(request: Submit, delivered: Delivered) -> tuple[str, ...] | None:
    """Folders of the copy first, then what this machine's `PYTHONPATH` says."""
    if any(not entry.startswith("./") or ".." in entry.split("/") for entry in delivered.import_path):
        raise BadValue("import path", delivered.import_path, "places below the copy, each as `./place`")
    if not delivered.import_path:
        return None
    here = [entry for entry in request.variables.get("PYTHONPATH", "").split(":") if entry.startswith("/")]
    return (*delivered.import_path, *here)
