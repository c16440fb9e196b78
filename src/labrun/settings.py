"""The only reader of files and environment for settings.

Order: flag, environment, experiment file, the project's `lab.toml`, `home.toml`, the user's own
`config.toml`, default (`cli.submission` lays them over each other). Rooms never import this: bootstrap
fills the few values each of them declares. `home_path` is all that most commands need, so it stays cheap.
"""

import os
import zlib
from collections.abc import Collection
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from labrun.core.errors import BadDescription, BadValue, HomeUnusable, UnknownOption
from labrun.core.layers import RESOURCES, Layer, anchored

TABLES = ("experiment", "pods")
"""Tables of `home.toml` beside the settings."""
POD_FACTS = ("engine", "price_per_hour", "description")
"""What a pod may say beside its resources."""
OPTION_PREFIX = "LAB_OPTION_"
NUMBERS = ("cpus", "gpus", "seed", "priority")
VARIABLES = (
    *("name", "note", "priority", "timeout", "grace", "pod", "seed", "python", "lab", *RESOURCES),
    *("hypothesis", "context", "intent", "expect", "parent", "group", "tags", "metrics_from"),
)
"""Options that a variable may give."""
HOST_NAMES = {
    **{"host": "host", "user": "user", "port": "port", "key": "key", "host_lab": "lab", "host_home": "home"},
    **{"worker_host": "host", "worker_user": "user", "worker_port": "port", "worker_base": "home"},
    "api_key": "api_key",
}
"""Names in a user's config that say where the lab is; `ssh` needs no `api_key`, so that one is read and not used."""


@dataclass(frozen=True)
class Settings:
    """Every setting of a home, with its unit in the name, its default here and its reason in the docs."""

    slots: int = 1
    """Experiments without a resource request that may run at once."""
    code_limit_bytes: int = 200 * 2**20
    """Largest source folder that is frozen at submit."""
    code_limit_files: int = 200_000
    """Most files a source folder may have; more are data that were meant to be ignored."""
    log_quota_bytes: int = 10 * 2**30
    """Largest log kept per stream; over it the middle is cut out and the gap recorded."""
    idle_exit_s: float = 1800.0
    """The server leaves after so long with nothing open and nobody connected; 0 means never."""
    poll_s: float = 1.0
    """How often leases are probed for supervisors that died without a word."""


def home_path() -> Path:
    """Where the home is: `$LAB_HOME`, else `~/lab`. Absolute, links kept as they are."""
    chosen = os.environ.get("LAB_HOME")  # noqa: TID251
    return Path(os.path.abspath(Path(chosen).expanduser())) if chosen else Path.home() / "lab"  # noqa: PTH100  resolve() would follow links


def load(home: Path) -> Settings:
    """Read a home's settings.

    Raises:
        UnknownOption: `home.toml` holds a key nobody knows; the nearest known one is named.
        BadValue: A value has the wrong type or is out of range.
        HomeUnusable: The file is not TOML.
    """
    values = {key: value for key, value in _read(home / "home.toml").items() if key not in TABLES}
    known = {field.name: type(field.default) for field in fields(Settings)}
    for key, value in values.items():
        if key not in known:
            raise UnknownOption(key, [*known, *TABLES], str(home / "home.toml"))
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or value < 0 or (known[key] is int and not isinstance(value, int)):
            raise BadValue(f"setting {key}", value, "a number, zero or more")
    return Settings(**values)


def given(home: Path) -> frozenset[str]:
    """Names of the settings that `home.toml` sets."""
    return frozenset(_read(home / "home.toml")) - set(TABLES)


def pods(home: Path) -> dict[str, dict[str, Any]]:
    """Named resources: `[pods.h100]` with `gpus`, `memory` and the like.

    Raises:
        BadDescription: One asks for what nobody knows; everything is listed.
        HomeUnusable: The file is not TOML.
    """
    path = home / "home.toml"
    found = _read(path).get("pods", {})
    if not isinstance(found, dict):
        raise BadDescription(f"`{path}`", [("pods", "it is not a table; write `[pods.NAME]` for each")], _MEND)
    wrong = []
    for name, pod in found.items():
        asked = {key: value for key, value in pod.items() if key not in POD_FACTS} if isinstance(pod, dict) else pod
        wrong += [
            (
                f"pods.{name}",
                text.replace(" of `resources`", "").replace("`resources.", "`").replace("`resources`", "it"),
            )
            for _, text in _faults({"resources": asked})
        ]
    if wrong:
        raise BadDescription(f"`{path}`", wrong, _MEND)
    return found


def layers(home: Path | None, project: Path | None) -> list[Layer]:
    """What files give besides the experiment file, the weakest first; paths in them count from their folder.

    The user's `config.toml`, the home's `home.toml`, the project's `lab.toml`: table `[experiment]` in each.

    Args:
        home: The lab's home; None when it is on another machine.
        project: Source root; None without one.

    Raises:
        BadDescription: A file is not TOML or holds something wrong; everything is listed.
        HomeUnusable: `home.toml` is not TOML.
    """
    found = [_layer(user_config(), _read_own(user_config(), HOST_NAMES))]
    if home is not None:
        found.append(_layer(home / "home.toml", _read(home / "home.toml")))
    if project is not None:
        found.append(_layer(project / "lab.toml", _read_own(project / "lab.toml")))
    return [layer for layer in found if layer.description]


def variables() -> Layer:
    """What variables `LAB_OPTION_<NAME>` give; empty ones give nothing.

    Raises:
        UnknownOption: No option has that name, or it cannot be given by a variable.
        BadDescription: A value is wrong; everything is listed.
    """
    found: dict[str, Any] = {}
    names: dict[str, str] = {}
    for variable, text in os.environ.items():  # noqa: TID251
        if not variable.startswith(OPTION_PREFIX) or not text:
            continue
        name = variable.removeprefix(OPTION_PREFIX).lower()
        if name not in VARIABLES:
            known = [OPTION_PREFIX + known.upper() for known in VARIABLES]
            raise UnknownOption(variable, known, "the environment")
        value: Any = int(text) if name in NUMBERS and text.isascii() and text.isdigit() and len(text) < 20 else text
        value = [tag for tag in text.split(",") if tag] if name == "tags" else value
        if name in RESOURCES:
            found.setdefault("resources", {})[name] = value
            names[f"resources.{name}"] = variable
        else:
            found[name] = value
            names[name] = variable
    wrong = [(f"${names.get(field, field)}", text) for field, text in _faults(found)]
    if wrong:
        raise BadDescription("the environment", wrong, "set it anew, or `unset` it")
    return Layer(found, lambda field: f"${names.get(field, field)}")


class ChosenHost(NamedTuple):
    """Another machine to work on, as somebody said it."""

    text: str
    """`ssh://user@box:port`, `user@box` or `box`."""
    given: dict[str, Any]
    """`user`, `port`, `key`, `lab` (the command there) and `home` (there)."""
    place: str
    """Who said so."""


def host(chosen: str | None) -> ChosenHost | None:
    """The machine that commands talk to: `--host`, else `$LAB_HOST`, else the user's config; None is this one.

    A project's `lab.toml` cannot say it: who clones a repository must not be sent to a stranger's machine.

    Args:
        chosen: From `--host`; `local` means this machine whatever else is said.

    Raises:
        BadDescription: The config is not TOML or holds something wrong; everything is listed.
    """
    variable = os.environ.get("LAB_HOST")  # noqa: TID251
    said = chosen or variable
    if said == "local":
        return None
    path = user_config()
    table = {HOST_NAMES[key]: value for key, value in _read_own(path, HOST_NAMES).items() if key in HOST_NAMES}
    wrong = [
        (key, f"`{value}` is no {'number of a port' if key == 'port' else 'text'}")
        for key, value in table.items()
        if not (isinstance(value, str) or (key == "port" and isinstance(value, int) and 0 < value < 65536))
        or (key == "port" and isinstance(value, str))
    ]
    if wrong:
        raise BadDescription(f"`{path}`", wrong, _MEND)
    text = said or table.get("host")
    if not text or text == "local":
        return None
    # what the file says of its own host holds for that one alone
    given = (
        {key: value for key, value in table.items() if key not in ("host", "api_key")}
        if text == table.get("host")
        else {}
    )
    return ChosenHost(text, given, "--host" if chosen else "$LAB_HOST" if variable else f"{path}: host")


def runtime_folder() -> Path:
    """Where sockets of this login may lie: `$XDG_RUNTIME_DIR/labrun`, else a folder of the user's in `/tmp`."""
    base = os.environ.get("XDG_RUNTIME_DIR")  # noqa: TID251
    is_usable = base and base.startswith("/") and os.access(base, os.W_OK)
    return Path(base, "labrun") if base and is_usable else Path(f"/tmp/labrun-{os.getuid()}")


def cache_folder() -> Path:
    """What can be made anew: `$XDG_CACHE_HOME/labrun`."""
    base = os.environ.get("XDG_CACHE_HOME")  # noqa: TID251
    return (Path(base) if base and base.startswith("/") else Path.home() / ".cache") / "labrun"


def user_config() -> Path:
    """Where a person's own settings are: `$XDG_CONFIG_HOME/labrun/config.toml`."""
    base = os.environ.get("XDG_CONFIG_HOME")  # noqa: TID251
    # a relative one is to be ignored: XDG Base Directory Specification, section 2
    folder = Path(base) if base and base.startswith("/") else Path.home() / ".config"
    return folder / "labrun" / "config.toml"


_MEND = "mend it and try again"


def _layer(path: Path, content: dict[str, Any]) -> Layer:
    table = content.get("experiment", {})
    wrong = [(f"experiment.{field}" if field else "experiment", text) for field, text in _faults(table)]
    if wrong:
        raise BadDescription(f"`{path}`", wrong, _MEND)
    table = {"pod" if field == "pod_type" else field: value for field, value in table.items()}
    if "env" in table:
        table["env"] = {name: str(value) for name, value in table["env"].items()}
    return Layer(anchored(table, str(path.parent)), lambda field: f"{path}: {field}")


def _faults(table: object) -> list[tuple[str, str]]:
    """Field and text of everything that is wrong with one layer."""
    if table == {}:
        return []
    from labrun.core.faults import TARGETS, faults, show_path  # start-up time: only where something is given

    found = [(show_path(fault.path), fault.text) for fault in faults(table, is_whole=False)]
    if isinstance(table, dict):
        at_submit = (*TARGETS, "args", "cwd", "format")
        found += [(field, "what to run is said at each submit, not here") for field in table if field in at_submit]
    return found


def _read_own(path: Path, names: Collection[str] = ()) -> dict[str, Any]:
    """Read a file that holds nothing but the table `[experiment]`, and these names."""
    try:
        found = _parse(path)
    except _UnreadableError as error:
        raise BadDescription(f"`{path}`", [(path.name, str(error))], _MEND) from error
    wrong = [(key, "nobody knows it here; options of an experiment stand below `[experiment]`") for key in found]
    wrong = [(key, text) for key, text in wrong if key != "experiment" and key not in names]
    if wrong:
        raise BadDescription(f"`{path}`", wrong, _MEND)
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        return _parse(path)
    except _UnreadableError as error:
        raise HomeUnusable(str(path), str(error), "mend the file or remove it") from error


class _UnreadableError(Exception):
    """A file is there and is not TOML, or cannot be read at all."""


def _parse(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise _UnreadableError(f"it cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise _UnreadableError(f"it cannot be read: not UTF-8 at byte {error.start}") from error
    import tomllib  # start-up time of the commands that have no such file

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _UnreadableError(f"not TOML: {error}") from error


def own_variables() -> dict[str, str]:
    """Everything in this process's environment: what an experiment gets that came over HTTP."""
    return dict(os.environ)  # noqa: TID251


def looked_path(home: Path) -> Path:
    """Remembers by its time when this person last looked at a home: `$XDG_STATE_HOME/labrun/looked-…`."""
    base = os.environ.get("XDG_STATE_HOME")  # noqa: TID251
    folder = (Path(base) if base else Path.home() / ".local/state") / "labrun"
    return folder / f"looked-{zlib.crc32(os.fsencode(home)):08x}"


def login_variables() -> dict[str, str]:
    """The few variables that tell whether a server started here would die with this login."""
    names = ("SLURM_JOB_ID", "XDG_SESSION_ID", "KUBERNETES_SERVICE_HOST", "container")
    return {name: os.environ[name] for name in names if name in os.environ}  # noqa: TID251
