"""Configuration files, copied at submit."""

import hashlib
from pathlib import Path

from labrun.core.errors import BadValue, CodeUnreadable, TooBig
from labrun.core.spec import ConfigFile

CONFIG_LIMIT_BYTES = 16 * 2**20
"""Largest configuration file that is copied; what is larger is data."""


def take_config(path: str, submitted: dict[str, bytes]) -> ConfigFile:
    """Copy one configuration file; two of the same name get numbers."""
    file = Path(path)
    if not file.is_absolute():
        raise BadValue("config", path, "an absolute path")
    try:
        if not file.is_file():
            raise BadValue("config", path, "a file", hint="data go into inputs")
        if (size := file.stat().st_size) > CONFIG_LIMIT_BYTES:
            raise TooBig(f"config `{path}`", size, CONFIG_LIMIT_BYTES, "declare it as data: `--input NAME=PATH`")
        content = file.read_bytes()
    except OSError as error:
        raise CodeUnreadable(path, error.strerror or str(error)) from error
    number, place = 1, f"config/{file.name}"
    while place in submitted:
        number += 1
        place = f"config/{file.stem}-{number}{file.suffix}"
    submitted[place] = content
    return ConfigFile(path, f"submitted/{place}", hashlib.sha256(content).hexdigest(), len(content))
