"""What goes into an experiment, made durable at submit: code, links, environment, configuration, inputs.

Two git trees in one store: the frozen code, and what was submitted beside it (`submitted/` in the
experiment's folder). Everything here blocks and runs in a thread.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import structs

from labrun.capture.configs import take_config
from labrun.capture.credentials import revealing_arguments
from labrun.capture.environment import ENVIRONMENT_PLACE, PACKAGES_PLACE, Captured, capture_environment
from labrun.capture.import_paths import map_imports, not_frozen_arguments
from labrun.capture.listing import Listing, list_code
from labrun.capture.live import describe_live, is_labrun
from labrun.capture.program import Uses, python_of_program
from labrun.core.definition import definition_of
from labrun.core.environment import Environment
from labrun.core.errors import BadValue, NoSuchScript
from labrun.core.faults import INPUT_NAME, doubled_input, is_input_name
from labrun.core.spec import Input, Link, NotFrozen, Source, Spec
from labrun.store.remembered_links import remember, remembered
from labrun.wire.requests import Submit
from labrun.worker.parts import Parts

STDIN_PLACE = "stdin"


def take_in(parts: Parts, request: Submit, spec: Spec) -> tuple[Spec, list[str]]:
    """Freeze what a submit brings and complete its spec; durable when this returns.

    Raises:
        RequestError: Something does not exist, or is too big; nothing was accepted.
        WorldError: Something cannot be read or stored.
    """
    uses = uses_of(spec, request.variables)
    spec, files, notices = _take_code(parts, request, spec, uses)
    notices += revealing_notice(spec)
    captured = _capture(parts, request.variables, spec, files, uses)
    submitted = dict(captured.files)
    configs = tuple(take_config(path, submitted) for path in request.configs)
    stdin_sha256 = spool_stdin(request, spec, submitted)
    inputs = hash_inputs(parts, request.inputs)
    spec = structs.replace(spec, configs=configs, inputs=inputs, submitted=parts.code.store_files(submitted))
    return structs.replace(spec, definition=definition_of(spec, stdin_sha256)), [*notices, *captured.notices]


def revealing_notice(spec: Spec) -> list[str]:
    """A warning for words on the command line that look like credentials."""
    if not (revealing := revealing_arguments(spec.target.argv)):
        return []
    said = f"looks like credentials, and a command line is recorded as it is: {', '.join(revealing)}"
    return [f"{said}; pass it in a variable"]


def spool_stdin(request: Submit, spec: Spec, submitted: dict[str, bytes]) -> str | None:
    """Put what the command will read among the submitted files; its SHA-256, None when it reads nothing."""
    if spec.stdin != "spooled":
        return None
    submitted[STDIN_PLACE] = request.stdin or b""
    return hashlib.sha256(request.stdin or b"").hexdigest()


def uses_of(spec: Spec, variables: Mapping[str, str]) -> Uses:
    """Say which Python the command uses, as far as that is known."""
    if spec.interpreter is not None:
        return Uses(Path(spec.interpreter))
    uses = python_of_program(spec.target.argv, variables, callers_folder(spec))
    source, beside = spec.source, uses.environment
    if source.root is None or source.cwd_is_live or beside is None or beside.is_relative_to(source.root):
        return uses
    return Uses(chooser=f"{Path(spec.target.argv[0]).name} run")  # what lies above the root is not above the copy


def callers_folder(spec: Spec) -> Path:
    """The directory it was submitted from."""
    source = spec.source
    is_live = source.cwd_is_live or source.root is None
    return Path(source.cwd) if is_live else Path(str(source.root), source.cwd)


def _take_code(parts: Parts, request: Submit, spec: Spec, uses: Uses) -> tuple[Spec, tuple[str, ...], list[str]]:
    """Freeze the source folder: the spec with its tree, the frozen files, what to say."""
    source = spec.source
    if source.root is None:
        arguments = not_frozen_arguments(_arguments(spec), root=None, cwd=Path(source.cwd))
        return structs.replace(spec, source=structs.replace(source, not_frozen=arguments)), (), []
    root = Path(source.root)
    if not root.is_dir():
        raise NoSuchScript(str(root), "the source folder is not there", "submit from a folder that exists")
    links = _links(parts, request, source)
    environment = _environment_link(links, source, uses)
    links += environment
    places = [link.place for link in links]
    listing = list_code(root, source.only, places, limit_files=parts.policy.code_limit_files)
    frozen = parts.code.freeze(root, listing, parts.policy.code_limit_bytes)
    cwd = callers_folder(spec)
    imports = map_imports(
        root=root,
        files=listing.files,
        interpreter=uses.python,
        python_path=request.variables.get("PYTHONPATH"),
        cwd=cwd,
        variables=request.variables,
        readings=parts.readings,
        links=[link.place for link in links],
    )
    live = [
        *(describe_live("link", Path(link.target)) for link in links),
        *imports.not_frozen,
        *not_frozen_arguments(_arguments(spec), root=root, cwd=cwd),
    ]
    if source.cwd_is_live and not source.is_live:
        live.append(describe_live("working_directory", cwd))
    source = structs.replace(
        source,
        tree=frozen.tree,
        links=links,
        import_path=None if source.is_live else imports.import_path,
        not_frozen=tuple(live),
    )
    notices = [*listing.notices, *frozen.notices, *_left_out(listing), *imports.notices, *_live_notices(live)]
    notices += [
        f"`{link.place}` is linked into the frozen copy, for `{Path(spec.target.argv[0]).name}` looks for it there"
        for link in environment
    ]
    return structs.replace(spec, source=source), listing.files, notices


def _arguments(spec: Spec) -> tuple[str, ...]:
    if spec.target.kind == "program":
        return spec.target.argv[1:]
    return spec.target.argv[3:] if spec.target.kind == "module" else spec.target.argv[2:]


def _links(parts: Parts, request: Submit, source: Source) -> tuple[Link, ...]:
    """The places that stay live: those of the request, else those remembered for this root."""
    root = str(source.root)
    places = request.links
    if places is None and not source.only and not source.is_live:
        places = tuple(
            place for place in remembered(parts.home.links, root) or () if os.path.lexists(f"{root}/{place}")
        )
    found = dict[str, Link]()
    for place in places or ():
        names = Path(place).parts
        if not names or Path(place).is_absolute() or ".." in names or names[0] == ".git":
            raise BadValue("link", place, "a place below the source folder")
        if not os.path.lexists(f"{root}/{place}"):
            raise BadValue("link", place, f"a file or folder that is there, below {root}")
        whole = os.path.normpath(place)
        found[whole] = Link(whole, f"{root}/{whole}")
    if request.links is not None and request.remember_links:
        remember(parts.home.links, root, tuple(found))
    # what lies below another link is there with it; made first, it would stand in that one's place
    return tuple(
        link for place, link in found.items() if not any(str(parent) in found for parent in Path(place).parents)
    )


def _environment_link(links: tuple[Link, ...], source: Source, uses: Uses) -> tuple[Link, ...]:
    """The environment a program looks for in its folder, unless it is there anyway."""
    if uses.environment is None or source.cwd_is_live:
        return ()
    place = str(uses.environment.relative_to(str(source.root)))
    is_there = any(Path(place).is_relative_to(link.place) for link in links)
    return () if is_there else (Link(place, str(uses.environment)),)


def hash_inputs(parts: Parts, given: Mapping[str, str]) -> tuple[Input, ...]:
    """Check declared data as the command line does, and hash them."""
    for name, path in given.items():
        if not is_input_name(name):
            raise BadValue("input", name, INPUT_NAME)
        if not Path(path).is_absolute():
            raise BadValue("input", path, "an absolute path")
    if twins := doubled_input(given):
        raise BadValue("input", twins[1], f"a name that differs from `{twins[0]}` by more than case")
    return tuple(parts.data.hash(name, Path(path)) for name, path in sorted(given.items()))


def _left_out(listing: Listing) -> list[str]:
    if not listing.left_out:
        return []
    shown = ", ".join(listing.left_out[:5]) + (" …" if len(listing.left_out) > 5 else "")
    return [f"left out of the frozen code, it looks like credentials: {shown}"]


def _live_notices(live: list[NotFrozen]) -> list[str]:
    """One line for each kind of thing that is used as it is then."""
    words = {
        "editable": "editable install outside the source folder, not frozen",
        "import_path": "on PYTHONPATH outside the source folder, not frozen",
        "argument": "argument outside the frozen copy, not frozen",
    }
    told = []
    for kind, text in words.items():
        news = [one for one in live if one.kind == kind and not is_labrun(one)]
        paths = [one.path + (" (uncommitted changes)" if one.is_dirty else "") for one in news]
        if paths:
            told.append(f"{text}: {', '.join(paths[:3])}" + (f" and {len(paths) - 3} more" if len(paths) > 3 else ""))
    return told


def _capture(parts: Parts, variables: Mapping[str, str], spec: Spec, files: tuple[str, ...], uses: Uses) -> Captured:
    return capture_environment(
        root=Path(spec.source.root) if spec.source.root is not None else None,
        cwd=callers_folder(spec),
        interpreter=Path(spec.interpreter) if spec.interpreter else None,
        variables=variables,
        tree=spec.source.tree,
        files=files,
        readings=parts.readings,
        uses=uses,
    )


def submitted_files(parts: Parts, tree: str | None) -> dict[str, bytes]:
    """What was submitted beside some code, from the store: the copies in a folder belong to the script."""
    if tree is None:
        return {}
    return {place: parts.code.blob(entry.blob) for place, entry in parts.code.entries(tree).items()}


def environment_of(submitted: Mapping[str, bytes]) -> Environment | None:
    """The environment that is among submitted files; None when it is not there or cannot be read."""
    try:
        return msgspec.json.decode(submitted.get(ENVIRONMENT_PLACE, b""), type=Environment)
    except msgspec.DecodeError:
        return None


def capture_here(
    spec: Spec, variables: Mapping[str, str], parts: Parts, submitted: Mapping[str, bytes]
) -> tuple[Environment, dict[str, bytes]]:
    """Read interpreter, packages and machine now; lock files and repository are those of the frozen code."""
    cwd = callers_folder(spec)
    captured = capture_environment(
        root=None,
        cwd=cwd if cwd.is_dir() else Path("/"),
        interpreter=Path(spec.interpreter) if spec.interpreter is not None else None,
        variables=variables,
        tree=spec.source.tree,
        files=(),
        readings=parts.readings,
        uses=uses_of(spec, variables),
    )
    old = environment_of(submitted)
    environment = structs.replace(
        captured.environment,
        locks=old.locks if old is not None else (),
        repository=old.repository if old is not None else None,
    )
    files = {ENVIRONMENT_PLACE: msgspec.json.format(msgspec.json.encode(environment), indent=2) + b"\n"}
    if PACKAGES_PLACE in captured.files:
        files[PACKAGES_PLACE] = captured.files[PACKAGES_PLACE]
    return environment, files
