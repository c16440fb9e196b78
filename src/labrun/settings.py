"""The only reader of files and environment for settings.

Order: flag, environment, experiment file, the project's `lab.toml`, `home.toml`, the user's own
`config.toml`, default. Rooms never import this: bootstrap fills the few values each of them declares.
`home_path` is all that most commands need, so it stays cheap.
"""

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from labrun.core.errors import BadDescription, BadValue, HomeUnusable, UnknownOption
from labrun.core.layers import RESOURCES, Layer

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
        BadDescription: One asks for what nobody knows.
        HomeUnusable: The file is not TOML.
    """
    path = home / "home.toml"
    found = _read(path).get("pods", {})
    if not isinstance(found, dict) or not all(isinstance(pod, dict) for pod in found.values()):
        raise BadValue(f"`pods` in {path}", found, "a table `[pods.NAME]` for each")
    for name, pod in found.items():
        asked = {key: value for key, value in pod.items() if key not in POD_FACTS}
        _check({"resources": asked}, path, f"pods.{name}")
    return found


def layers(home: Path, project: Path | None) -> list[Layer]:
    """What is given outside a command line and an experiment file, the weakest first.

    The user's `config.toml`, the home's `home.toml`, the project's `lab.toml` (table `[experiment]` in
    each), and variables `LAB_OPTION_<NAME>`.

    Args:
        home: The lab's home.
        project: Source root; None without one.

    Raises:
        BadDescription: A table or variable holds something wrong; everything is listed.
        HomeUnusable: A file is not TOML.
    """
    files = [user_config(), home / "home.toml", *([project / "lab.toml"] if project is not None else [])]
    found = [_layer(path) for path in files]
    return [layer for layer in (*found, _variables()) if layer.description]


def user_config() -> Path:
    """Where a person's own settings are: `$XDG_CONFIG_HOME/labrun/config.toml`."""
    base = os.environ.get("XDG_CONFIG_HOME")  # noqa: TID251
    return (Path(base) if base else Path.home() / ".config") / "labrun" / "config.toml"


def _layer(path: Path) -> Layer:
    table = _read(path).get("experiment", {})
    if table:
        _check(table, path, "experiment")
    return Layer(table, lambda field: f"{path}: {field}")


def _variables() -> Layer:
    """Values of `LAB_OPTION_PRIORITY` and its like."""
    found: dict[str, Any] = {}
    names: dict[str, str] = {}
    for variable, text in os.environ.items():  # noqa: TID251
        if not variable.startswith(OPTION_PREFIX) or not text:
            continue
        name = variable.removeprefix(OPTION_PREFIX).lower()
        if name not in VARIABLES:
            known = [OPTION_PREFIX + known.upper() for known in VARIABLES]
            raise UnknownOption(variable, known, "the environment")
        value: Any = int(text) if name in NUMBERS and text.isascii() and text.isdigit() and len(text) < 10 else text
        value = text.split(",") if name == "tags" else value
        if name in RESOURCES:
            found.setdefault("resources", {})[name] = value
            names[f"resources.{name}"] = variable
        else:
            found[name] = value
            names[name] = variable
    if found:
        _check(found, Path("the environment"), OPTION_PREFIX + "…")
    return Layer(found, lambda field: f"${names.get(field, field)}")


def _check(table: object, path: Path, name: str) -> None:
    from labrun.core.faults import TARGETS, faults, show_path  # start-up time: only where something is given

    wrong = [(f"{path}: {name}.{show_path(fault.path)}", fault.text) for fault in faults(table, is_whole=False)]
    if isinstance(table, dict):
        targets = [field for field in table if field in (*TARGETS, "args", "cwd", "format")]
        wrong += [(f"{path}: {name}.{field}", "what to run is said at each submit") for field in targets]
    if wrong:
        raise BadDescription(f"`{path}`", wrong, "mend it and try again; nothing was submitted")


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise HomeUnusable(str(path), f"it cannot be read: {error}", "mend the file or remove it") from error
    import tomllib  # start-up time of the commands that have no such file

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise HomeUnusable(str(path), f"not TOML: {error}", "mend the file or remove it") from error


def own_variables() -> dict[str, str]:
    """Everything in this process's environment: what an experiment gets that came over HTTP."""
    return dict(os.environ)  # noqa: TID251


def login_variables() -> dict[str, str]:
    """The few variables that tell whether a server started here would die with this login."""
    names = ("SLURM_JOB_ID", "XDG_SESSION_ID", "KUBERNETES_SERVICE_HOST", "container")
    return {name: os.environ[name] for name in names if name in os.environ}  # noqa: TID251


def server_variables() -> dict[str, str]:
    """What the server's own environment holds: an experiment that comes without a caller gets it."""
    return dict(os.environ)  # noqa: TID251
