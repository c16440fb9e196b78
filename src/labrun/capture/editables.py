"""How editable installs make a project's own folder importable, read from what the installers left behind.

Three ways exist. A `.pth` line puts a folder on `sys.path`. A finder at the end of `sys.meta_path`
maps package names to folders: `PYTHONPATH` comes before it. A hook at the beginning of
`sys.meta_path` comes before everything: only uninstalling it lets other code win.
"""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from labrun.capture.packages import Package


class Editable(Struct, frozen=True):
    """One editable install."""

    name: str
    location: str
    """The project's folder."""
    modules: tuple[tuple[str, str], ...] = ()
    """Dotted names and the folders or files they are imported from, when a finder maps them."""
    folders: tuple[str, ...] = ()
    """Folders it put on `sys.path`."""
    is_hooked: bool = False
    """Its import hook comes before `PYTHONPATH`."""


def read_editables(packages: Sequence[Package]) -> tuple[Editable, ...]:
    """Read how each editable among the packages is imported."""
    return tuple(_read(package, package.editable) for package in packages if package.editable is not None)


def _read(package: Package, location: str) -> Editable:
    modules: list[tuple[str, str]] = []
    folders: list[str] = []
    is_hooked = False
    for path in _installed_files(package):
        text = _text(path)
        if path.suffix == ".pth":
            lines = [line.strip() for line in text.splitlines()]
            folders += [
                str(path.parent / line) for line in lines if line and not line.startswith(("#", "import ", "import\t"))
            ]
        else:
            is_hooked = is_hooked or "meta_path.insert(" in text
            modules += _mapped(text)
    if package.direct is None:
        folders.append(location)  # an `.egg-link`: `easy-install.pth` names the folder
    return Editable(package.name, location, tuple(dict.fromkeys(modules)), tuple(dict.fromkeys(folders)), is_hooked)


def _installed_files(package: Package) -> Iterator[Path]:
    """Give the `.pth` and `.py` files an install laid directly into the import folder.

    Source:
        Python packaging user guide, "Recording installed projects", `RECORD`: a path is the first field.
    """
    for line in _text(Path(package.metadata, "RECORD")).splitlines():
        name = line.partition(",")[0].strip('"')
        if "/" not in name and name.endswith((".pth", ".py")):
            yield Path(package.folder, name)


def _path_lines(text: str) -> Iterator[str]:
    """Give the lines of a `.pth` file that name folders.

    Source:
        Documentation of `site`: lines that begin with `#` are skipped, those with `import` executed.
    """
    for line in text.splitlines():
        if line.strip() and "\0" not in line and not line.startswith(("#", "import ", "import\t")):
            yield line.strip()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _mapped(text: str) -> Iterator[tuple[str, str]]:
    """Read which names a finder maps to which places.

    >>> list(_mapped("MAPPING: dict[str, str] = {'pkg': '/home/ada/p/src/pkg'}"))
    [('pkg', '/home/ada/p/src/pkg')]
    >>> list(_mapped("F.map_module('pkg', '/home/ada/p/src/pkg/__init__.py')"))
    [('pkg', '/home/ada/p/src/pkg')]

    Source:
        setuptools, `command/editable_wheel.py`: `MAPPING` and `NAMESPACES`; editables, `map_module`.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=("MAPPING" | "NAMESPACES"))], value=ast.Dict() as value):
                yield from _entries(value)
            case ast.AnnAssign(target=ast.Name(id=("MAPPING" | "NAMESPACES")), value=ast.Dict() as value):
                yield from _entries(value)
            case ast.Expr(
                value=ast.Call(
                    func=ast.Attribute(attr="map_module"),
                    args=[ast.Constant(value=str(name)), ast.Constant(value=str(place))],
                )
            ):
                yield name, place.removesuffix("/__init__.py")


def _entries(node: ast.Dict) -> Iterator[tuple[str, str]]:
    try:
        said = ast.literal_eval(node)
    except ValueError:
        return
    for name, place in said.items():
        for each in place if isinstance(place, list) else [place]:
            if isinstance(name, str) and isinstance(each, str) and "\0" not in each:
                yield name, each
