"""What was submitted beside the code, read back from an experiment's folder."""

import msgspec

from labrun.core.environment import Environment
from labrun.store.folder import Folder


def read_environment(folder: Folder) -> Environment | None:
    """What it ran in, as it was captured at submit; None when it is not there, or not readable."""
    try:
        return msgspec.json.decode((folder.submitted / "environment.json").read_bytes(), type=Environment)
    except (OSError, msgspec.DecodeError):
        return None
