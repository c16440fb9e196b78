"""References that only the client can resolve: a path means something in the caller's directory."""

import re
from pathlib import Path

_FOLDER = re.compile(r"([A-Z]+-\d{3,})(?:-.*)?")


def label_in_path(text: str, cwd: Path, labs: Path) -> str | None:
    """Find the experiment whose folder a path lies in; None when the text is no such path.

    Args:
        text: What was typed; only `.`, `..` and text with a slash are paths.
        cwd: The caller's directory.
        labs: The home's `labs` folder.

    Returns:
        The experiment's label, which is unique in a home.
    """
    if "/" not in text and text not in (".", ".."):
        return None
    path = (cwd / text).resolve()
    if not path.is_relative_to(labs.resolve()):
        return None
    parts = path.relative_to(labs.resolve()).parts
    match = _FOLDER.fullmatch(parts[2]) if len(parts) > 2 else None
    return match.group(1) if match else None
