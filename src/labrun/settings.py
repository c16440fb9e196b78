"""The only reader of files and environment for settings.

Order: flag, environment, home file (`home.toml`), default. Rooms never import this: bootstrap fills
the few values each of them declares. `home_path` is all that the commands need, so it stays cheap.
"""

import os
from dataclasses import dataclass, fields
from pathlib import Path

from labrun.core.errors import BadValue, HomeUnusable, UnknownOption


@dataclass(frozen=True)
class Settings:
    """Every setting of a home, with its unit in the name, its default here and its reason in the docs."""

    slots: int = 1
    """Experiments without a resource request that may run at once."""
    code_limit_bytes: int = 200 * 2**20
    """Largest source folder that is frozen at submit."""
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
    import tomllib  # start-up time of the commands that only need `home_path`

    path = home / "home.toml"
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        values = {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise HomeUnusable(str(path), f"not TOML: {error}", "mend the file or remove it") from error
    known = {field.name: type(field.default) for field in fields(Settings)}
    for key, value in values.items():
        if key not in known:
            raise UnknownOption(key, known, str(path))
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or value < 0 or (known[key] is int and not isinstance(value, int)):
            raise BadValue(f"setting {key}", value, "a number, zero or more")
    return Settings(**values)


def login_variables() -> dict[str, str]:
    """The few variables that tell whether a server started here would die with this login."""
    names = ("SLURM_JOB_ID", "XDG_SESSION_ID", "KUBERNETES_SERVICE_HOST", "container")
    return {name: os.environ[name] for name in names if name in os.environ}  # noqa: TID251
