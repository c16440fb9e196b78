"""Read an experiment file: YAML 1.2, TOML or JSON into a plain description, every error at once with its place.

Loaded only for `-f`: it brings the reader of its format with it.
"""

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from labrun.client.document import Document, Place, Unreadable
from labrun.core.errors import BadDescription, BadValue, NoSuchScript, TooBig, nearest
from labrun.core.faults import FIELDS, Fault, faults, show_path

SUFFIXES = (".yaml", ".yml", ".toml", ".json")
SIZE_LIMIT_BYTES = 256 * 1024
"""Largest file that is read; what is longer was written by no person."""


class ExperimentFile(NamedTuple):
    """One experiment as a file describes it."""

    description: dict[str, Any]
    """Plain values under the names of `wire.description`; `pod_type` is `pod`, paths but `script` are absolute."""
    place_of: Callable[[str], str]
    """Where a field was given, for `--dry-run` and errors: `resources.gpus` to `experiment.yaml:7:9`."""
    notices: tuple[str, ...] = ()
    """What should be said, such as a file of the same name in another form that disagrees."""


def read(path: Path, *, has_target: bool = False) -> ExperimentFile:
    """Read and check a whole experiment file; nothing has happened when it is refused.

    Args:
        path: As the user gave it: `.yaml`, `.yml`, `.toml` or `.json`; without an ending, the one there is.
        has_target: What to run was given on the command line, so the file need not say it.

    Raises:
        BadDescription: Something in it is wrong; all errors are listed with line and column.
        NoSuchScript: There is no such file, or it cannot be read.
        BadValue: The ending is none of ours, or two files of this name disagree.
        TooBig: It is no experiment file.
    """
    path = path if path.suffix else _find(path)
    try:
        document = _parse(path)
    except Unreadable as error:
        raise _refusal(path, [(error.place, error.text)]) from error
    plain = document.value
    if isinstance(plain, dict):
        plain.pop("$schema", None)  # for editors
    found = faults(plain, is_whole=not has_target)
    description: dict[str, Any] = {}
    if isinstance(plain, dict) and not any(fault.path == ("format",) for fault in found):
        # what is right in itself is looked for on disk, so that everything is told at once
        wrong = {fault.path[0] for fault in found if fault.path}
        description = _ours({name: value for name, value in plain.items() if name not in wrong}, document.texts, path)
        found += _absent(description, has_target=has_target)
    if found or document.flaws:
        raise _refusal(path, [*document.flaws, *((_place(document, fault), fault.text) for fault in found)])

    def place_of(field: str) -> str:
        names = (tuple(field.split(".")), ("pod_type",) if field == "pod" else ())
        place = next((document.names[name] for name in names if name in document.names), None)
        return f"{path}:{place.line}:{place.column}" if place is not None else str(path)

    return ExperimentFile(description, place_of, tuple(_disagreements(path, plain)))


def _refusal(path: Path, errors: list[tuple[Place, str]]) -> BadDescription:
    told = [(f"{path}:{place.line}:{place.column}", text) for place, text in sorted(errors)]
    return BadDescription(f"`{path}`", told, "mend it and try again; `lab schema` prints what is allowed")


def _parse(path: Path) -> Document:
    """Read the text of a file whose ending is known.

    Raises:
        Unreadable: It is not what its ending says.
        RequestError: It cannot be read at all.
    """
    text = _text(path)
    match path.suffix.lower():
        case ".yaml" | ".yml":
            from labrun.client.yaml_document import read_yaml  # start-up time: the reader of this format alone

            return read_yaml(text)
        case ".toml":
            from labrun.client.toml_document import read_toml  # start-up time, as above

            return read_toml(text)
        case ".json":
            from labrun.client.json_document import read_json  # start-up time, as above

            return read_json(text)
        case _:
            raise BadValue("experiment file", str(path), f"a file that ends in {', '.join(SUFFIXES)}")


def _text(path: Path) -> str:
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):  # a named pipe would be waited for, for ever
            raise NoSuchScript(str(path), "it is not a regular file", "name an experiment file")
        with path.open("rb") as file:
            raw = file.read(SIZE_LIMIT_BYTES + 1)
    except ValueError as error:
        raise BadValue("experiment file", str(path), "a path without NUL") from error
    except OSError as error:
        hint = "check the path"
        if isinstance(error, FileNotFoundError):
            hint = _hint(path) or hint
        raise NoSuchScript(str(path), (error.strerror or "unreadable").lower(), hint) from error
    if len(raw) > SIZE_LIMIT_BYTES:
        raise TooBig(
            f"experiment file `{path}`", path.stat().st_size, SIZE_LIMIT_BYTES, "put data into files of its own"
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        raise Unreadable(Place(before.count(b"\n") + 1, column), f"not UTF-8: byte {raw[error.start]:#04x}") from error


def _hint(path: Path) -> str | None:
    guess = _nearest_file(path)
    return f"did you mean `{path.parent / guess}`?" if guess else None


def _find(path: Path) -> Path:
    there = [found for found in (path.with_name(path.name + suffix) for suffix in SUFFIXES) if found.is_file()]
    if not there:
        ending = f"a file that ends in {', '.join(SUFFIXES)}"
        raise NoSuchScript(str(path), "there is no such experiment file", _hint(path) or f"name {ending}")
    first, *rest = there
    values = _value(first)
    for other in rest:
        differing = _difference(values, _value(other))
        if differing:
            names = f"{first.name} and {other.name} differ in {differing}"
            raise BadValue("experiment file", str(path), f"the whole name of one file: {names}")
    return first


def _value(path: Path) -> Any:
    """What a file says; None when nobody can read it."""
    try:
        return _parse(path).value
    except (Unreadable, BadValue, NoSuchScript, TooBig):
        return None


def _difference(one: Any, other: Any) -> str:
    """Fields in which two descriptions differ, in words; empty when they say the same."""
    if not isinstance(one, dict) or not isinstance(other, dict):
        return "" if one == other else "everything"
    names = [name for name in dict.fromkeys((*one, *other)) if one.get(name) != other.get(name) and name != "$schema"]
    return ", ".join(f"`{name}`" for name in names[:5]) + (" …" if len(names) > 5 else "")


def _disagreements(path: Path, value: dict[str, Any]) -> Iterator[str]:
    for suffix in SUFFIXES:
        other = path.with_suffix(suffix)
        if other == path or not other.is_file():
            continue
        beside = _value(other)
        # `train.json` beside `train.yaml` may be anything; only what looks like an experiment is compared
        if isinstance(beside, dict) and beside and {*beside} <= {*FIELDS, "$schema"}:
            differing = _difference(value, beside)
            if differing:
                yield f"{other.name} beside it describes another experiment ({differing}); {path.name} is used"


def _place(document: Document, fault: Fault) -> Place:
    places = document.names if fault.is_about_name else document.values
    path = fault.path
    while path not in places and path:
        path = path[:-1]
    return places.get(path, Place(1, 1))


def _ours(plain: dict[str, Any], texts: Mapping[tuple[str | int, ...], str], path: Path) -> dict[str, Any]:
    """The description as the rest of the house wants it: verbatim words, one name for each thing, absolute cwd."""
    found = dict(plain)
    for name in ("args", "command"):
        if isinstance(found.get(name), list):
            words = enumerate(found[name])
            found[name] = [word if isinstance(word, str) else texts[name, at] for at, word in words]
    if "env" in found:
        variables = found["env"].items()
        found["env"] = {key: value if isinstance(value, str) else texts["env", key] for key, value in variables}
    if "pod_type" in found:
        found["pod"] = found.pop("pod_type")
    for name in ("cwd", "script", "python"):
        if name in found:
            found[name] = _expanded(found[name])
    cwd = found["cwd"] = os.path.realpath(path.parent / found.get("cwd", "."))
    for name in ("config", "links"):
        if name in found:
            given = found[name]
            found[name] = [str(Path(cwd, _expanded(item))) for item in ([given] if isinstance(given, str) else given)]
    if "inputs" in found:
        found["inputs"] = {name: str(Path(cwd, _expanded(place))) for name, place in found["inputs"].items()}
    return found


def _expanded(text: str) -> str:
    """A path with its leading `~`, as a shell would have put it."""
    try:
        return str(Path(text).expanduser()) if text.startswith("~") else text
    except RuntimeError:  # nobody of that name: a file may be called so
        return text


def _absent(description: Mapping[str, Any], *, has_target: bool) -> Iterator[Fault]:
    """Say which files are not there, or are not what they should be."""
    cwd = Path(description["cwd"])
    if not _is_there(cwd) or not cwd.is_dir():
        yield Fault(("cwd",), f"`cwd`: there is no folder `{cwd}`")
        return
    named: list[tuple[tuple[str | int, ...], str]] = []
    if "script" in description and not has_target:
        named.append((("script",), description["script"]))
    configs = description.get("config", ())
    named += [(("config", at) if len(configs) > 1 else ("config",), name) for at, name in enumerate(configs)]
    for path, name in named:
        shown = name.removeprefix(f"{cwd}/")
        if not _is_there(cwd / name):
            yield _no_file(path, shown, cwd)
        elif (cwd / name).is_dir():
            yield Fault(path, f"`{show_path(path)}`: `{shown}` is a folder, give a file")
        elif not os.access(cwd / name, os.R_OK):
            yield Fault(path, f"`{show_path(path)}`: `{shown}` cannot be read, its permissions forbid it")
    for key, name in description.get("inputs", {}).items():
        if not _is_there(cwd / name):
            yield _no_file(("inputs", key), name.removeprefix(f"{cwd}/"), cwd)


def _is_there(file: Path) -> bool:
    try:
        return file.exists()
    except OSError:  # a name too long, a folder that may not be entered
        return False


def _no_file(path: tuple[str | int, ...], name: str, cwd: Path) -> Fault:
    guess = _nearest_file(cwd / name)
    advice = f"; did you mean `{guess}`?" if guess else ""
    return Fault(path, f"`{show_path(path)}`: there is no `{name}` in {cwd}{advice}")


def _nearest_file(file: Path) -> str | None:
    """Path of the file in the same folder that was probably meant."""
    try:
        return nearest(file.name, [found.name for found in file.parent.iterdir()])
    except OSError:
        return None
