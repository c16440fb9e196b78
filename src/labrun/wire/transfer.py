"""What goes to and from a client on another machine: frozen code by difference, files of experiments."""

from datetime import datetime

from msgspec import Struct

from labrun.core.spec import ConfigFile


class Delivered(Struct, frozen=True, omit_defaults=True):
    """What was uploaded for a submit from another machine: its paths mean nothing here."""

    tree: str
    """Hash of the frozen code; all of it was uploaded before."""
    brought: str
    """Hash of the tree of what goes with it: lock files, difference, configuration, `environment.json` of there."""
    configs: tuple[ConfigFile, ...] = ()
    """Their copies lie in `brought`."""
    import_path: tuple[str, ...] = ()
    """Folders of the copy to import from, each as `./place`: where the other machine's Python found the code."""


class Missing(Struct, frozen=True):
    """`POST /v1/objects/missing`: which of these objects are not here; `…/fetch`: give these."""

    objects: tuple[str, ...]


class MissingView(Struct, frozen=True):
    """Answer to a question for missing objects."""

    objects: tuple[str, ...]
    """Those that are not here, in the order they were asked for."""


class TreeView(Struct, frozen=True):
    """Every object of a tree of frozen code."""

    files: tuple[str, ...]
    folders: tuple[str, ...]
    """Trees, each after those in it; the one that was asked for is the last."""


class Stored(Struct, frozen=True):
    """Answer to an upload of objects: they are durable."""

    count: int
    """How many were new."""


class FileView(Struct, frozen=True):
    """A file in an experiment's folder."""

    path: str
    """Relative to the folder."""
    size_bytes: int
    modified: datetime
    sha256: str | None
    """As sealed; null for what no seal names."""


class FileListing(Struct, frozen=True):
    """What can be copied out of an experiment's folder."""

    label: str
    folder: str
    files: tuple[FileView, ...]
    links: tuple[str, ...] = ()
    """Links among them: they point anywhere, so they are not copied."""
