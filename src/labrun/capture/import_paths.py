"""Which code Python would import from the caller's folders, and how the frozen copy is made to come first.

Three things would make an experiment import the live folder instead of its frozen copy: absolute
entries of `PYTHONPATH`, editable installs, and folders named in `.pth` files. Where they lie in the
source root, the same places of the copy are put in front. What cannot be turned that way is named.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from labrun.capture.editables import Editable, read_editables
from labrun.capture.interpreter import Interpreter, SilentInterpreter, ask_interpreter, callers_python
from labrun.capture.listing import shown
from labrun.capture.live import describe_live
from labrun.capture.packages import import_folders, list_packages
from labrun.capture.readings import Readings
from labrun.core.spec import NotFrozen, NotFrozenKind

_SHOWN = 5


class Imports(Struct, frozen=True):
    """What `PYTHONPATH` has to be, and what stays live all the same."""

    import_path: tuple[str, ...] | None = None
    """Entries that begin with `./` lie in `work/`, the others are absolute; None: leave `PYTHONPATH` as it is."""
    not_frozen: tuple[NotFrozen, ...] = ()
    notices: tuple[str, ...] = ()


def map_imports(
    *,
    root: Path,
    files: Sequence[str],
    interpreter: Path | None,
    python_path: str | None,
    cwd: Path,
    variables: Mapping[str, str] | None = None,
    readings: Readings | None = None,
    links: Collection[str] = (),
) -> Imports:
    """Map what would be imported from below the source root into the frozen copy. Blocks.

    Args:
        root: Source root, absolute.
        files: What was frozen, relative to the root.
        interpreter: The Python that will run; None for a program: the caller's is what it may start.
        python_path: The caller's `PYTHONPATH`.
        cwd: The caller's directory.
        variables: The caller's; some of them choose where an interpreter imports from.
        readings: What was read before.
        links: Places below the root that are links in the copy.
    """
    readings = readings if readings is not None else Readings()
    state = tuple(files)
    tree = readings.recall(("frozen", root), lambda: (_tree_of(state), ()), state)
    mapping = _Mapping(root, tree, links)
    python: Interpreter | None = None
    asked = interpreter or (callers_python(variables, cwd) if variables is not None else None)
    if asked is not None:
        try:
            python = ask_interpreter(asked, variables or {}, cwd, readings)
        except SilentInterpreter as silent:
            mapping.notices.append(
                f"editable installs are not mapped: {shown(str(asked))} does not say what it is: {silent}"
            )
    mapping.environment = _environment_folders(python)
    given = python_path.split(os.pathsep) if python_path else []
    for entry in given:
        mapping.take_entry(cwd / entry)
    if python is not None:
        mapping.take_installed(python, import_folders(python, python_path, cwd), readings)
        mapping.take_extensions(python, readings)
    is_changed = any(entry.startswith("./") for entry in mapping.entries) or any(
        not Path(entry).is_absolute() for entry in given
    )
    return Imports(
        tuple(dict.fromkeys(mapping.entries)) if is_changed else None,
        tuple({(each.kind, each.path): each for each in mapping.not_frozen}.values()),
        tuple(mapping.notices),
    )


def not_frozen_arguments(argv: Sequence[str], *, root: Path | None, cwd: Path) -> tuple[NotFrozen, ...]:
    """Name the arguments that are paths to live files or folders.

    Those are absolute paths that exist or point into the source root, and relative ones that climb
    out of it. `--option=PATH` is looked into.

    Args:
        argv: The arguments alone, without interpreter and script.
        root: Source root.
        cwd: The caller's directory.
    """
    found = {}
    for word in argv:
        text = word.partition("=")[2] if word.startswith("-") else word
        if not text or "\0" in text or not text.startswith(("/", "../")):
            continue
        path = Path(os.path.normpath(cwd / text))
        is_inside = root is not None and path.is_relative_to(root)
        if (text.startswith("/") and is_inside) or (not is_inside and _is_file_or_folder(path)):
            found[str(path)] = describe_live("argument", path, with_repository=not is_inside and path.is_dir())
    return tuple(found.values())


def _is_file_or_folder(path: Path) -> bool:
    try:
        return path.is_file() or path.is_dir()
    except (OSError, ValueError):
        return False


class _Tree(NamedTuple):
    """Frozen names, as they are asked for."""

    files: frozenset[str]
    folders: frozenset[str]
    """Every folder that has a frozen file somewhere below it; the root is the empty name."""
    code_folders: tuple[str, ...]
    """Folders with Python code right in them."""


class _Mapping:
    """One import path in the making."""

    def __init__(self, root: Path, tree: "_Tree", links: Collection[str]) -> None:
        self._root = root
        self._links = frozenset(links)
        self._real_root = Path(os.path.realpath(root))
        self._tree = tree
        self.environment: tuple[Path, ...] = ()
        self.entries: list[str] = []
        self.not_frozen: list[NotFrozen] = []
        self.notices: list[str] = []

    def take_entry(self, path: Path) -> None:
        """Take one entry of `PYTHONPATH`: its place in the copy, or the path itself, named when it is there."""
        path = Path(os.path.normpath(path))
        place = self._place(path)
        if place is not None:
            self.entries.append(place)
            return
        self.entries.append(str(path))
        if path.exists() and not self._is_environment(path):
            self._name("import_path", path)

    def take_installed(self, python: Interpreter, folders: Sequence[str], readings: Readings) -> None:
        """Take what is imported through the interpreter's environment."""
        editables = read_editables(list_packages(folders, readings))
        accounted = {folder for editable in editables for folder in editable.folders}
        mapped: list[str] = []
        for editable in editables:
            mapped += self._take_editable(editable)
        for folder in python.path:
            path = Path(folder)
            if folder in accounted or not self._is_below_root(path) or self._is_environment(path):
                continue
            place = self._place(path)
            if place is not None:
                mapped.append(place)
            else:
                self._name("import_path", path)
        for place in dict.fromkeys(mapped):
            self._warn_of_shadows(place, python)
        self.entries += mapped

    def _take_editable(self, editable: Editable) -> Iterator[str]:
        """Give the places of the copy that stand in for one editable install; name it when they cannot."""
        location = Path(editable.location)
        sources = [Path(place) for _, place in editable.modules] + [Path(folder) for folder in editable.folders]
        if not any(map(self._is_below_root, (location, *sources))):
            self._name("editable", location)
        elif editable.is_hooked:
            self._name("editable", location)
            self.notices.append(
                f"{editable.name} is installed editable with an import hook that comes before PYTHONPATH: the live code"
                f" in {shown(editable.location)} runs, not the frozen one; install it without `-e` to run frozen code"
            )
        else:
            places = [self._place(Path(folder)) for folder in editable.folders]
            places += [self._place_of_module(name, Path(place)) for name, place in editable.modules]
            yield from (place for place in places if place is not None)
            if not places or None in places:
                self._name("editable", location)
                self.notices.append(
                    f"{editable.name} is installed editable, and not all of it lies frozen where it is imported from:"
                    f" live code in {shown(editable.location)} may run"
                )

    def take_extensions(self, python: Interpreter, readings: Readings) -> None:
        """Name compiled extensions that lie beside frozen modules and were not frozen themselves."""
        folders = self._tree.code_folders

        def read() -> tuple[tuple[str, ...], Iterable[str]]:
            found = tuple(self._extensions(folders, python.suffixes))
            return found, [f"{self._root}/{folder}" for folder in folders]

        present = readings.recall(("extensions", self._root), read, (folders, python.suffixes))
        missing = [name for name in present if name not in self._tree.files and name not in self._links]
        self.not_frozen += [describe_live("extension", self._root / name) for name in missing]
        if missing:
            links = " ".join(f"--link {shown(name)}" for name in missing[:_SHOWN])
            more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
            self.notices.append(
                f"compiled extensions are not in the frozen copy; if they are imported, add: {links}{more}"
            )

    def _extensions(self, folders: Sequence[str], suffixes: Sequence[str]) -> Iterator[str]:
        for folder in folders:
            try:
                names = os.listdir(self._root / folder)  # noqa: PTH208  names alone, of every folder with code
            except OSError:
                continue
            for name in sorted(names):
                suffix = next((each for each in sorted(suffixes, key=len, reverse=True) if name.endswith(each)), None)
                if suffix is not None and name.removesuffix(suffix).isidentifier():
                    yield f"{folder}/{name}" if folder else name

    def _place(self, path: Path) -> str | None:
        """The place in the copy of a folder or file below the root; None when nothing of it is frozen."""
        for root, each in ((self._root, path), (self._real_root, Path(os.path.realpath(path)))):
            if each.is_relative_to(root):
                inside = each.relative_to(root).as_posix()
                inside = "" if inside == "." else inside
                if inside in self._tree.folders or inside in self._tree.files:
                    return f"./{inside}"
        return None

    def _place_of_module(self, name: str, path: Path) -> str | None:
        """The folder to import a mapped module from; None when the module is not called as its folder is."""
        words = name.split(".")
        parts = (*path.parent.parts, path.name.removesuffix(".py"))
        is_there = self._place(path) is not None or self._place(path.with_name(f"{path.name}.py")) is not None
        if not is_there or parts[-len(words) :] != tuple(words):
            return None
        return self._place(Path(*parts[: -len(words)]))

    def _is_below_root(self, path: Path) -> bool:
        return path.is_relative_to(self._root) or Path(os.path.realpath(path)).is_relative_to(self._real_root)

    def _is_environment(self, path: Path) -> bool:
        return any(path.is_relative_to(folder) for folder in self.environment)

    def _name(self, kind: NotFrozenKind, path: Path) -> None:
        self.not_frozen.append(describe_live(kind, path, with_repository=True))

    def _warn_of_shadows(self, place: str, python: Interpreter) -> None:
        """An installed folder comes after the standard library, its copy comes before it."""
        prefix = place[2:] + "/" if place != "./" else ""
        hidden = sorted(self._top_level(prefix) & python.standard)
        if hidden:
            self.notices.append(
                f"{place} comes first on the frozen import path and hides modules of the standard library:"
                f" {', '.join(hidden[:_SHOWN])}"
            )

    def _top_level(self, prefix: str) -> set[str]:
        """Names importable from a folder of the copy."""
        found = set()
        for name in self._tree.files:
            if name.startswith(prefix):
                first, slash, rest = name[len(prefix) :].partition("/")
                if not slash and first.endswith(".py"):
                    found.add(first.removesuffix(".py"))
                elif rest == "__init__.py":
                    found.add(first)
        return found


def _tree_of(files: Sequence[str]) -> _Tree:
    found: set[str] = set()
    for name in files:
        folder = name.rpartition("/")[0]
        while folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    code = {name.rpartition("/")[0] for name in files if name.endswith((".py", ".pyi", ".pyx"))}
    return _Tree(frozenset(files), frozenset(found), tuple(sorted(code)))


def _environment_folders(python: Interpreter | None) -> tuple[Path, ...]:
    """Folders whose content is the environment's, recorded as packages, also when they lie in the root."""
    if python is None:
        return ()
    libraries = (Path(prefix, name) for prefix in (python.prefix, python.base_prefix) for name in ("lib", "lib64"))
    return (*libraries, *map(Path, python.sites))
