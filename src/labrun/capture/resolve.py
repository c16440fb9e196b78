"""From a description of an experiment to a request: what runs, where its code is, with which Python.

Looks at files and changes nothing. Cheap to import and free of the wire's types: every submit does it.
"""
# Long because every field of a description is checked here, in one place for command line, file and HTTP.

import binascii
import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from labrun.capture.caller import (
    Caller,
    interpreter,
    is_executable,
    is_readable_text,
    variables_to_send,
    which,
)
from labrun.capture.elsewhere import path_there, placement_there, python_there
from labrun.capture.placement import Placement, never_roots, place
from labrun.capture.target import Target, check_size, recognise
from labrun.core.errors import BadValue, NotRunnable
from labrun.core.units import parse_duration, parse_size

STDIN_LIMIT_BYTES = 64 * 2**20
"""Most that is spooled; more belongs into a file."""
_NARRATIVE = {"expect": "expected_outcome", "parent": "parent_run", "group": "experiment_group"}
_PRIORITY_WORDS = {"low": 2, "normal": 5, "high": 7, "critical": 9}


class Submission(NamedTuple):
    """What is sent, and what is said about it."""

    request: dict[str, Any]
    """A wire `Submit` as plain values."""
    notices: tuple[str, ...]
    target: Target


def resolve(
    description: Mapping[str, Any],
    caller: Caller,
    *,
    place_of: Callable[[str], str] = lambda field: f"`{field}`",
    stdin: bytes | None = None,
) -> Submission:
    """Work out what a description means for this caller.

    Args:
        description: Plain values under the names of `wire.description`, laid over each other. In `env` a
            value of None passes the caller's own variable.
        caller: Whose paths, variables and interpreter count.
        place_of: How the person wrote a field, for errors.
        stdin: What the command will read, when the description says `spooled`.

    Raises:
        RequestError: Something is wrong; nothing was sent.
    """
    cwd = _folder(description, caller, place_of)
    given = [name if value is None else f"{name}={value}" for name, value in description.get("env", {}).items()]
    variables, left_out = variables_to_send(caller.variables, given)
    target = _target(description, caller, cwd, variables.get("PATH"), place_of)
    placement = _placement(target, description, caller, cwd, place_of)
    argv = [placement.word, *target.arguments]
    if target.python is not None:
        argv = [str(target.python), *(["-m"] if target.kind == "module" else []), *argv]
    check_size(argv, variables)
    spec: dict[str, Any] = {
        "target": {"kind": target.kind, "name": target.name, "argv": argv},
        "lab": description.get("lab", "main"),
        "source": _source(placement, is_live=bool(description.get("live"))),
        "surroundings": dict(caller.process),
        "resources": _resources(description, caller.pods, place_of),
        "user": caller.user,
        "host": caller.host,
        **_texts(description, place_of),
        **_limits(description, place_of),
        **_seed(description),
    }
    if target.python is not None:
        spec["interpreter"] = str(target.python)
    if "pod" in description:
        spec["pod"] = description["pod"]
    if "metrics_from" in description:
        from labrun.core.printed_metrics import reader_of  # start-up time: few ask for it

        reader_of(description["metrics_from"])
        spec["metrics_from"] = description["metrics_from"]
    if outputs := _list(description.get("outputs")):
        spec["expected_outputs"] = [_below(glob, "outputs", place_of) for glob in outputs]
    request: dict[str, Any] = {"spec": spec, "variables": variables}
    if configs := _list(description.get("config")):
        request["configs"] = [str(_readable(_path(cwd, path), path, "config", place_of)) for path in configs]
    if "inputs" in description:
        request["inputs"] = _inputs(description["inputs"], cwd, place_of, caller)
    if "links" in description:
        if description.get("live"):
            raise BadValue(place_of("links"), list(description["links"]), "wanted with `live`: everything is live then")
        request["links"] = [_link(path, cwd, placement.root, place_of) for path in description["links"]]
    if description.get("stdin") == "spooled":
        spec["stdin"] = "spooled"
        request["stdin"] = binascii.b2a_base64(stdin or b"", newline=False).decode()
    notices = placement.notices
    if left_out:
        notices = (*notices, f"not passed on, not UTF-8: {', '.join(left_out)}")
    return Submission(request, notices, target)


class ChangedFields(NamedTuple):
    """What a few fields of a description mean for an experiment that exists."""

    spec: dict[str, Any]
    """Fields of a wire `Spec`; `narrative` and `resources` hold only what is given."""
    has_new_resources: bool
    """A pod was named: nothing of the old request is left."""
    variables: dict[str, str]
    configs: list[str] | None
    inputs: dict[str, str]


def resolve_changes(
    changes: Mapping[str, Any], pods: Mapping[str, Mapping[str, Any]], cwd: Path, place_of: Callable[[str], str]
) -> ChangedFields:
    """Work out what changed fields mean; fields that say what runs, and where, are not looked at.

    Args:
        changes: Checked values under the names of `wire.description`.
        pods: Named resources.
        cwd: What relative paths count from.
        place_of: How the person wrote a field, for errors.

    Raises:
        RequestError: Something is wrong.
    """
    spec: dict[str, Any] = {**_texts(changes, place_of), **_limits(changes, place_of)}
    if "pod" in changes or "resources" in changes:
        spec["resources"] = _resources(changes, pods, place_of)
    if "pod" in changes:
        spec["pod"] = changes["pod"]
    if "seed" in changes:
        spec |= {**_seed(changes), "is_seed_drawn": False}
    if "metrics_from" in changes:
        spec["metrics_from"] = changes["metrics_from"]
    if "outputs" in changes:
        spec["expected_outputs"] = [_below(glob, "outputs", place_of) for glob in _list(changes["outputs"])]
    if "python" in changes:
        python = _path(cwd, changes["python"])
        if not is_executable(python):
            raise NotRunnable(str(changes["python"]), f"{place_of('python')} names no program", "give its path")
        spec["interpreter"] = str(python)
    configs = None
    if "config" in changes:
        configs = [str(_readable(_path(cwd, path), path, "config", place_of)) for path in _list(changes["config"])]
    inputs = _inputs(changes.get("inputs", {}), cwd, place_of)
    variables = {name: str(value) for name, value in changes.get("env", {}).items()}
    return ChangedFields(spec, "pod" in changes, variables, configs, inputs)


def _folder(description: Mapping[str, Any], caller: Caller, place_of: Callable[[str], str]) -> Path:
    if "cwd" not in description:
        return caller.cwd
    cwd = Path(caller.cwd, description["cwd"]).resolve()
    if not cwd.is_dir():
        raise BadValue(place_of("cwd"), description["cwd"], "a folder that is there")
    return cwd


def _target(
    description: Mapping[str, Any], caller: Caller, cwd: Path, path: str | None, place_of: Callable[[str], str]
) -> Target:
    arguments = [str(word) for word in description.get("args", ())]
    module, is_program = description.get("module"), "command" in description
    if is_program:
        command = description["command"]
        try:
            words = shlex.split(command) if isinstance(command, str) else [str(word) for word in command]
        except ValueError as error:
            raise BadValue(place_of("command"), command, f"words as a shell would split them ({error})") from error
        words += arguments
    else:
        words = arguments if module is not None else [*_list(description.get("script")), *arguments]
    python = _python(description, caller, cwd, place_of)
    is_elsewhere = caller.elsewhere is not None
    return recognise(
        words, module=module, is_program=is_program, cwd=cwd, path=path, python=python, is_elsewhere=is_elsewhere
    )


def _python(
    description: Mapping[str, Any], caller: Caller, cwd: Path, place_of: Callable[[str], str]
) -> Callable[[], Path]:
    """Finds the interpreter when one is needed: a program needs none."""

    def find() -> Path:
        wanted = description.get("python")
        if caller.elsewhere is not None:
            return python_there(wanted, caller.elsewhere, caller.variables, place_of)
        if wanted is None:
            return interpreter(caller.variables, cwd)
        found = _path(cwd, wanted) if "/" in wanted else which(wanted, caller.variables.get("PATH"), cwd)
        if found is None or not is_executable(found):
            raise NotRunnable(str(wanted), f"{place_of('python')} names no program", "name a Python that is there")
        return found

    return find


def _placement(
    target: Target, description: Mapping[str, Any], caller: Caller, cwd: Path, place_of: Callable[[str], str]
) -> Placement:
    here, there = Path(caller.variables.get("HOME") or "/"), caller.elsewhere
    forbidden = never_roots(here if there is None else there.user_home, caller.lab_home)
    placement = place(target, cwd, forbidden)
    if there is not None:
        return placement_there(placement, description, there, cwd, place_of)
    if not description.get("live"):
        return placement
    word = str(target.file) if target.file is not None and target.kind != "script" else target.word
    notice = f"live: it runs in {cwd} itself, and later edits change what runs"
    return placement._replace(cwd=str(cwd), is_live=True, word=word, notices=(*placement.notices, notice))


def _source(placement: Placement, *, is_live: bool) -> dict[str, Any]:
    source: dict[str, Any] = {"cwd": placement.cwd, "cwd_is_live": placement.is_live}
    if is_live:
        source["is_live"] = True
    if placement.root is not None:
        source["root"] = str(placement.root)
        if placement.only:
            source["only"] = list(placement.only)
    for text in (str(placement.root), placement.cwd):
        if not is_readable_text(text):
            raise BadValue("folder", text, "a path in UTF-8 (records are text; rename the folder)")
    return source


def _texts(description: Mapping[str, Any], place_of: Callable[[str], str]) -> dict[str, Any]:
    """Name, note and narrative."""
    found: dict[str, Any] = {}
    narrative: dict[str, Any] = {}
    for field in ("name", "note", "hypothesis", "context", "intent", "expect", "parent", "group"):
        if field not in description:
            continue
        text = _text(description[field], field, place_of)
        if not text and field in ("parent", "group"):
            raise BadValue(place_of(field), text, "the name of one (a variable in your command was empty, maybe)")
        if field in ("name", "note"):
            found[field] = text
        elif text:  # an empty one takes back what a weaker layer says
            narrative[_NARRATIVE.get(field, field)] = text
    if not found.get("note", "-"):
        del found["note"]
    if "name" in found and not 1 <= len(found["name"]) <= 200:
        raise BadValue(place_of("name"), found["name"], "1 to 200 characters")
    if tags := _list(description.get("tags")):
        if "" in tags:
            raise BadValue(place_of("tags"), "", "a word")
        narrative["tags"] = list(dict.fromkeys(_text(tag, "tags", place_of) for tag in tags))
    return found | ({"narrative": narrative} if narrative else {})


def _text(text: str, field: str, place_of: Callable[[str], str]) -> str:
    if "\0" in text or not is_readable_text(text):
        raise BadValue(place_of(field), text, "text in UTF-8 without NUL")
    return text


def _limits(description: Mapping[str, Any], place_of: Callable[[str], str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "priority" in description:
        found["priority"] = _priority(description["priority"], place_of)
    for key, field in (("timeout_s", "timeout"), ("grace_s", "grace")):
        if field in description:
            value = description[field]
            found[key] = _measure(parse_duration, value, _DURATION, place_of(field))
    if found.get("timeout_s") == 0:
        raise BadValue(place_of("timeout"), description["timeout"], "more than zero")
    return found


def _priority(value: str | int, place_of: Callable[[str], str]) -> int:
    text = str(value)
    if text.isascii() and text.isdigit() and len(text) < 3 and 1 <= int(text) <= 10:
        return int(text)
    if text.lower() not in _PRIORITY_WORDS:
        raise BadValue(place_of("priority"), value, f"1 to 10, or {', '.join(_PRIORITY_WORDS)}")
    return _PRIORITY_WORDS[text.lower()]


def _seed(description: Mapping[str, Any]) -> dict[str, Any]:
    """The seed that was given, or one drawn now: it is recorded either way."""
    if "seed" in description:
        return {"seed": int(description["seed"])}
    return {"seed": int.from_bytes(os.urandom(4), "big"), "is_seed_drawn": True}


def _resources(
    description: Mapping[str, Any], pods: Mapping[str, Mapping[str, Any]], place_of: Callable[[str], str]
) -> dict[str, int]:
    asked: dict[str, Any] = {}
    if "pod" in description:
        if description["pod"] not in pods:
            known = ", ".join(sorted(pods)) or "it has none; `[pods.NAME]` in home.toml makes one"
            raise BadValue(place_of("pod"), description["pod"], f"a pod of this home: {known}")
        asked |= {key: value for key, value in pods[description["pod"]].items() if key in _RESOURCES}
    asked |= description.get("resources", {})
    found: dict[str, int] = {}
    for field, value in asked.items():
        name, least = _RESOURCES[field]
        if name.endswith("_bytes"):
            found[name] = int(_measure(parse_size, value, _SIZE, place_of(f"resources.{field}")))
        else:
            found[name] = _count(value, least, place_of(f"resources.{field}"))
    return found


_RESOURCES = {
    "cpus": ("cpus", 1),
    "memory": ("memory_bytes", 1),
    "gpus": ("gpu_count", 0),
    "gpu_memory": ("gpu_memory_bytes", 1),
    "disk": ("disk_bytes", 1),
}
"""Field of a description: its name on the wire, and its least value."""


_SIZE = "a size such as 512M or 8G"
_DURATION = "a duration such as 90s, 15m, 4h or 1h30m"


def _measure(parse: Callable[[str], float], value: str | float, expected: str, what: str) -> float:
    """Read a size or duration, a number as it stands; the error names how it was given.

    Raises:
        BadValue: It is none.
    """
    if not isinstance(value, str):
        return float(value)
    try:
        return parse(value)
    except BadValue:
        raise BadValue(what, value, expected) from None


def _path(cwd: Path, given: str) -> Path:
    """A path as the caller means it, `~` included: no shell expands it behind `=` or in a file."""
    try:
        return cwd / Path(given).expanduser()
    except RuntimeError:  # nobody has that name: a file may
        return cwd / given


def _count(value: str | int, least: int, what: str) -> int:
    text = str(value)
    if not (text.isascii() and text.isdigit() and least <= int(text[:9]) and len(text) <= 6):
        raise BadValue(what, value, f"a whole number from {least}")
    return int(text)


def _readable(path: Path, given: str, field: str, place_of: Callable[[str], str]) -> Path:
    if path.is_dir():
        raise BadValue(place_of(field), given, "a file; this is a folder (data go into `inputs`)")
    if not path.is_file():
        raise BadValue(place_of(field), given, "a file that is there")
    if not os.access(path, os.R_OK):
        raise BadValue(place_of(field), given, "a file that may be read")
    return path.absolute()


def _inputs(
    given: Mapping[str, str], cwd: Path, place_of: Callable[[str], str], caller: Caller | None = None
) -> dict[str, str]:
    from labrun.core.faults import INPUT_NAME, doubled_input, is_input_name  # start-up time: few declare data

    found: dict[str, str] = {}
    for name, text in given.items():
        place = place_of(f"inputs.{name}")
        if not is_input_name(name):
            raise BadValue(place, name, INPUT_NAME)
        if caller is not None and caller.elsewhere is not None:
            expected = f"an absolute path on {caller.elsewhere.name}, or one below `~/`: data are not uploaded"
            found[name] = path_there(text, caller.variables, place, expected)
            continue
        path = _path(cwd, text)
        if not path.exists():
            raise BadValue(place, text, "a file or folder that is there")
        found[name] = str(path.absolute())
    if twins := doubled_input(found):
        first, second = twins
        raise BadValue(place_of(f"inputs.{second}"), second, f"a name that differs from `{first}` by more than case")
    return found


def _link(given: str, cwd: Path, root: Path | None, place_of: Callable[[str], str]) -> str:
    if root is None:
        raise BadValue(place_of("links"), given, "no link: nothing is frozen here, so everything is live already")
    path = Path(os.path.normpath(_path(cwd, given)))
    if not path.is_relative_to(root) or path == root:
        raise BadValue(place_of("links"), given, f"a place below the source folder {root}")
    if not os.path.lexists(path):
        raise BadValue(place_of("links"), given, "a file or folder that is there")
    return str(path.relative_to(root))


def _below(glob: str, field: str, place_of: Callable[[str], str]) -> str:
    if not glob or glob.startswith("/") or ".." in glob.split("/"):
        raise BadValue(place_of(field), glob, "a pattern below the working folder or `outputs/`")
    return _text(glob, field, place_of)


def _list(value: str | Iterable[str] | None) -> Sequence[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)
