"""The packages of an environment, as its own `pip freeze` would list them, read from their metadata.

pip is not started: it takes a quarter of a second, and an environment made by `uv` has none. One thing
differs on purpose: credentials in URLs are left out.
"""

import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from msgspec import Struct

from labrun.capture.credentials import without_credentials
from labrun.capture.interpreter import Interpreter
from labrun.capture.readings import Readings
from labrun.capture.repository import read_head

_VALID_NAME = re.compile(r"(?i)[A-Z0-9]|[A-Z0-9][A-Z0-9._-]*[A-Z0-9]")
_BUILD_TOOLS = frozenset({"setuptools", "distribute", "wheel"})


class Package(Struct, frozen=True):
    """One installed distribution."""

    name: str
    """As its author writes it."""
    version: str
    folder: str
    """Where its metadata lie."""
    metadata: str
    """The `.dist-info` or `.egg-info` itself."""
    direct: dict[str, Any] | None = None
    """`direct_url.json`, when it is valid."""
    editable: str | None = None
    """The project's folder, when the package is imported from there."""

    @property
    def key(self) -> str:
        """The name all spellings share."""
        return canonical(self.name)


def canonical(name: str) -> str:
    """Give the one spelling of a project's name.

    >>> canonical("Typing_Extensions"), canonical("ruamel.yaml")
    ('typing-extensions', 'ruamel-yaml')

    Source:
        Python packaging user guide, "Names and normalization".
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def import_folders(interpreter: Interpreter, python_path: str | None, cwd: Path) -> tuple[str, ...]:
    """Give the folders a Python imports from, in order, without the script's own."""
    entries = (python_path or "").split(os.pathsep) if python_path else []
    return tuple(dict.fromkeys([*(str(cwd / entry) for entry in entries), *interpreter.path]))


def list_packages(folders: Sequence[str], readings: Readings) -> tuple[Package, ...]:
    """List the distributions found in import folders; of two with one name the first counts.

    Source:
        pip 26, `metadata/importlib/_envs.py`: one folder after the other, links of `setup.py develop` last.
    """
    found: dict[str, Package] = {}
    links: set[str] = set()
    for folder in folders:
        here = readings.recall(("packages", folder), lambda folder=folder: _read_folder(folder))  # type: ignore[misc]
        links |= here.links.keys()
        linked = [
            package
            for target in here.links.values()
            for package in readings.recall(("packages", target), lambda target=target: _read_folder(target)).packages  # type: ignore[misc]
        ]
        for package in (*here.packages, *linked):
            found.setdefault(package.key, package)
    return tuple(_settled(package, links) for package in found.values() if _VALID_NAME.fullmatch(package.key))


def freeze(packages: Sequence[Package], interpreter: Interpreter) -> tuple[str, ...]:
    """Write the lines of `pip freeze`: sorted, without pip itself and, before Python 3.12, the build tools.

    Source:
        pip 26, `operations/freeze.py` and `commands/freeze.py`; unchanged in this since pip 20.1.
    """
    hidden = {"pip"} | (_BUILD_TOOLS if interpreter.is_before_312 else set())
    shown = sorted((package for package in packages if package.key not in hidden), key=lambda p: p.name.lower())
    return tuple(line for package in shown for line in _lines(package))


class _Folder(Struct, frozen=True):
    """What one import folder holds."""

    packages: tuple[Package, ...] = ()
    links: dict[str, str] = {}
    """Folder by name of an `.egg-link`."""


def _read_folder(folder: str) -> tuple[_Folder, list[str]]:
    """Read the metadata in one folder. Its modification time changes with every install and removal."""
    try:
        names = os.listdir(folder)  # noqa: PTH208  in the order pip sees them
    except (OSError, ValueError):
        return _Folder(), [folder]
    packages, links, witnesses = [], {}, [folder]
    for name in names:
        low = name.lower()
        if low.endswith(".egg-link"):
            path = Path(folder, name)
            witnesses.append(str(path))
            lines = _text(path).split("\n")
            target = next((line.strip() for line in lines if line.strip()), None)
            if target is not None:
                links[name] = str(Path(folder, target))
        elif low.endswith((".dist-info", ".egg-info")) or (low == "egg-info" and folder.lower().endswith(".egg")):
            package, file = _read_metadata(folder, name)
            if low.endswith("egg-info"):
                witnesses.append(file)  # rewritten in place by a second `setup.py develop`
            if package is not None:
                packages.append(package)
    return _Folder(tuple(packages), links), witnesses


def _read_metadata(folder: str, name: str) -> tuple[Package | None, str]:
    """Read one `.dist-info`, `.egg-info` (a folder, or a file by `distutils`); None when it names no package."""
    info = Path(folder, name)
    is_modern = name.lower().endswith(".dist-info")
    choices = (info / "METADATA", info / "PKG-INFO") if is_modern else (info / "PKG-INFO", info)
    file = next((path for path in choices if path.is_file()), choices[0])
    head = _text(file).split("\n\n", 1)[0]
    fields: dict[str, str] = {}
    for key, value in re.findall(r"(?m)^([A-Za-z-]+):[ \t]*(.*?)\r?$", head):
        fields.setdefault(key.lower(), value.strip())
    if not fields.get("name") or not fields.get("version"):
        return None, str(file)
    direct = _direct(info / "direct_url.json")
    editable = None
    if direct is not None and direct.get("dir_info", {}).get("editable"):
        editable = os.path.abspath(_path_of(direct["url"]))  # noqa: PTH100  links stay, as in pip
    return Package(fields["name"], fields["version"], folder, str(info), direct, editable), str(file)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _direct(path: Path) -> dict[str, Any] | None:
    """Where a package came from, if it says so in the agreed form.

    Source:
        PEP 610: `url` and exactly one of `vcs_info`, `archive_info`, `dir_info`.
    """
    try:
        said = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(said, dict) or not isinstance(said.get("url"), str) or "\0" in unquote(said["url"]):
        return None
    kinds = [kind for kind in ("vcs_info", "archive_info", "dir_info") if isinstance(said.get(kind), dict)]
    if len(kinds) != 1:
        return None
    if kinds == ["vcs_info"] and not all(isinstance(said["vcs_info"].get(key), str) for key in ("vcs", "commit_id")):
        return None
    return said


def _path_of(url: str) -> str:
    """Turn a `file:` URL into a path.

    >>> _path_of("file:///home/ada/my%20project")
    '/home/ada/my project'
    """
    return unquote(re.sub(r"^file:(//(localhost)?)?", "", url))


def _settled(package: Package, links: set[str]) -> Package:
    """A package without `direct_url.json` is editable when an `.egg-link` bears its name."""
    if package.direct is None and re.sub("[^A-Za-z0-9.]+", "-", package.name) + ".egg-link" in links:
        return Package(package.name, package.version, package.folder, package.metadata, None, package.folder)
    return package


def _lines(package: Package) -> Iterator[str]:
    if package.editable is not None:
        yield from _editable_lines(package, package.editable)
    elif package.direct is not None:
        yield _reference(package.name, package.direct)
    else:
        yield _pinned(package)


def _pinned(package: Package) -> str:
    version = normalised(package.version)
    return f"{package.name}=={version}" if version is not None else f"{package.name}==={package.version}"


def _reference(name: str, direct: dict[str, Any]) -> str:
    """Write a direct reference.

    Source:
        pip 26, `utils/direct_url_helpers.py`.
    """
    url, fragments = without_credentials(direct["url"]), []
    if "vcs_info" in direct:
        url = f"{direct['vcs_info']['vcs']}+{url}@{direct['vcs_info']['commit_id']}"
    archive = direct.get("archive_info", {})
    if isinstance(archive.get("hashes"), dict) and archive["hashes"]:
        fragments.append("=".join(map(str, next(iter(archive["hashes"].items())))))
    elif isinstance(archive.get("hash"), str):
        fragments.append(archive["hash"])
    if isinstance(direct.get("subdirectory"), str):
        fragments.append(f"subdirectory={direct['subdirectory']}")
    return f"{name} @ {url}" + ("#" + "&".join(fragments) if fragments else "")


def _editable_lines(package: Package, location: str) -> Iterator[str]:
    """Write an editable install: where its repository is and stands, or just its folder.

    Source:
        pip 26, `operations/freeze.py`, `_get_editable_info`; of version control systems git alone.
    """
    head = read_head(Path(location))
    if head is None:
        yield f"# Editable install with no version control ({_pinned(package)})"
    elif head.any_remote is None:
        yield f"# Editable Git install with no remote ({_pinned(package)})"
    elif (url := _as_pip_writes(head.any_remote)) is None:
        yield f"# Editable Git install ({_pinned(package)}) with either a deleted local remote or invalid URI:"
        yield f"# '{head.any_remote}'"
    elif head.commit is None:
        yield "## !! Could not determine repository location"
    else:
        inside = _subfolder(Path(location), Path(head.top))
        tail = f"&subdirectory={inside}" if inside is not None else ""
        url = url if re.match(r"git(\+\w+)?://", url) else f"git+{url}"
        yield f"-e {url}@{quote(head.commit)}#egg={package.name.replace('-', '_')}{tail}"
        return
    yield f"-e {os.path.normcase(location)}"


def _as_pip_writes(remote: str) -> str | None:
    """Write a remote as a URL; None when it is none.

    >>> _as_pip_writes("git@example.org:lab/pkg.git")
    'ssh://git@example.org/lab/pkg.git'
    """
    if re.match(r"\w+://", remote):
        return remote
    if Path(remote).exists():
        return Path(remote).absolute().as_uri()
    short = re.match(r"^(\w+@)?([^/:]+):(\w[^:]*)$", remote)
    return f"ssh://{short[1] or ''}{short[2]}/{short[3]}" if short is not None else None


def _subfolder(location: Path, top: Path) -> str | None:
    """Place of the nearest project at or above a folder, below the repository; None when it is the repository."""
    for folder in (location, *location.parents):
        if (folder / "pyproject.toml").is_file() or (folder / "setup.py").is_file():
            return None if folder.resolve() == top.resolve() else os.path.relpath(folder, top)
    return None


_VERSION = re.compile(
    r"""
    v?
    (?:(?P<epoch>\d+)!)?
    (?P<release>\d+(?:\.\d+)*)
    (?P<pre>[-_.]?(?P<pre_word>alpha|a|beta|b|preview|pre|c|rc)[-_.]?(?P<pre_number>\d+)?)?
    (?P<post>-(?P<post_bare>\d+)|[-_.]?(?:post|rev|r)[-_.]?(?P<post_number>\d+)?)?
    (?P<dev>[-_.]?dev[-_.]?(?P<dev_number>\d+)?)?
    (?:\+(?P<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*))?
    """,
    re.VERBOSE | re.IGNORECASE,
)
_PRE = {"alpha": "a", "beta": "b", "c": "rc", "pre": "rc", "preview": "rc"}


def normalised(version: str) -> str | None:
    """Write a version the one agreed way; None when it is no version by that agreement.

    >>> normalised("v1.0-Alpha_1.post+Ubuntu-01"), normalised("2.4.6"), normalised("1.0-3"), normalised("2004d-1")
    ('1.0a1.post0+ubuntu.1', '2.4.6', '1.0.post3', None)

    Source:
        PEP 440, "Normalization" and Appendix B.
    """
    found = _VERSION.fullmatch(version.strip())
    if found is None:
        return None
    epoch = int(found["epoch"] or 0)
    text = (f"{epoch}!" if epoch else "") + ".".join(str(int(part)) for part in found["release"].split("."))
    if found["pre"]:
        word = found["pre_word"].lower()
        text += f"{_PRE.get(word, word)}{int(found['pre_number'] or 0)}"
    if found["post"]:
        text += f".post{int(found['post_bare'] or found['post_number'] or 0)}"
    if found["dev"]:
        text += f".dev{int(found['dev_number'] or 0)}"
    if found["local"]:
        parts = re.split(r"[-_.]", found["local"].lower())
        text += "+" + ".".join(str(int(part)) if part.isdigit() else part for part in parts)
    return text
