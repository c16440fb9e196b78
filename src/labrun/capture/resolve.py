"""From a description of an experiment to a request: what runs, where its code is, with which Python.

Looks at files and changes nothing. Cheap to import and free of the wire's types: every submit does it.
"""

import binascii
import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from labrun.capture.caller import Caller, interpreter, is_executable, is_readable_text, variables_to_send, which
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
    placement = _placement(target, description, caller, cwd)
    argv = [placement.word, *target.arguments]
    if target.python is not None:
        argv = [str(target.python), *(["-m"] if target.kind == "module" else []), *argv]
    check_size(argv, variables)
    spec: dict[str, Any] = {
        "target": {"kind": target.kind, "name": target.name, "argv": argv},
        "lab": description.get("lab", "main"),
        "source": _source(placement, is_live=bool(description.get("live"))),
        "surroundings": dict(caller.process),
        "resources": _resources(description, caller, place_of),
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
        request["configs"] = [str(_readable(cwd / path, path, "config", place_of)) for path in configs]
    if "inputs" in description:
        request["inputs"] = {name: _input(name, path, cwd, place_of) for name, path in description["inputs"].items()}
    if "links" in description:
        request["links"] = [_link(path, cwd, placement.root, place_of) for path in description["links"]]
    if description.get("stdin") == "spooled":
        spec["stdin"] = "spooled"
        request["stdin"] = binascii.b2a_base64(stdin or b"", newline=False).decode()
    notices = placement.notices
    if left_out:
        notices = (*notices, f"not passed on, not UTF-8: {', '.join(left_out)}")
    return Submission(request, notices, target)


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
    return recognise(words, module=module, is_program=is_program, cwd=cwd, path=path, python=python)


def _python(
    description: Mapping[str, Any], caller: Caller, cwd: Path, place_of: Callable[[str], str]
) -> Callable[[], Path]:
    """Finds the interpreter when one is needed: a program needs none."""

    def find() -> Path:
        wanted = description.get("python")
        if wanted is None:
            return interpreter(caller.variables, cwd)
        found = cwd / Path(wanted).expanduser() if "/" in wanted else which(wanted, caller.variables.get("PATH"), cwd)
        if found is None or not is_executable(found):
            raise NotRunnable(str(wanted), f"{place_of('python')} names no program", "name a Python that is there")
        return found

    return find


def _placement(target: Target, description: Mapping[str, Any], caller: Caller, cwd: Path) -> Placement:
    forbidden = never_roots(Path(caller.variables.get("HOME") or "/"), caller.lab_home)
    placement = place(target, cwd, forbidden)
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
        if field in ("name", "note"):
            found[field] = text
        else:
            narrative[_NARRATIVE.get(field, field)] = text
    if "name" in found and not 1 <= len(found["name"]) <= 200:
        raise BadValue(place_of("name"), found["name"], "1 to 200 characters")
    if tags := _list(description.get("tags")):
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
            found[key] = parse_duration(value) if isinstance(value, str) else float(value)
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


def _resources(description: Mapping[str, Any], caller: Caller, place_of: Callable[[str], str]) -> dict[str, int]:
    asked: dict[str, Any] = {}
    if "pod" in description:
        if description["pod"] not in caller.pods:
            known = ", ".join(sorted(caller.pods)) or "it has none; `[pods.NAME]` in home.toml makes one"
            raise BadValue(place_of("pod"), description["pod"], f"a pod of this home: {known}")
        asked |= {key: value for key, value in caller.pods[description["pod"]].items() if key in _RESOURCES}
    asked |= description.get("resources", {})
    found: dict[str, int] = {}
    for field, value in asked.items():
        name, least = _RESOURCES[field]
        if name.endswith("_bytes"):
            found[name] = parse_size(value) if isinstance(value, str) else int(value)
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


def _input(name: str, given: str, cwd: Path, place_of: Callable[[str], str]) -> str:
    if not name.isidentifier() or not name.isascii():
        raise BadValue(place_of("inputs"), name, "a name of letters, digits and `_`: it becomes LAB_INPUT_<NAME>")
    path = cwd / Path(given).expanduser()
    if not path.exists():
        raise BadValue(place_of("inputs"), given, "a file or folder that is there")
    return str(path.absolute())


def _link(given: str, cwd: Path, root: Path | None, place_of: Callable[[str], str]) -> str:
    if root is None:
        raise BadValue(place_of("links"), given, "no link: nothing is frozen here, so everything is live already")
    path = Path(os.path.normpath(cwd / given))
    if not path.is_relative_to(root) or path == root:
        raise BadValue(place_of("links"), given, f"a place below the source folder {root}")
    if not os.path.lexists(path):
        raise BadValue(place_of("links"), given, "a file or folder that is there")
    return str(path.relative_to(root))


def _below(glob: str, field: str, place_of: Callable[[str], str]) -> str:
    if glob.startswith("/") or ".." in glob.split("/"):
        raise BadValue(place_of(field), glob, "a pattern below the working folder or `outputs/`")
    return _text(glob, field, place_of)


def _list(value: str | Iterable[str] | None) -> Sequence[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)
