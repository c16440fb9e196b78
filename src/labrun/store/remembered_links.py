"""Which places of a source folder stay live: the answer somebody gave once, kept in the home."""

import json
import os
import threading
from pathlib import Path

_LOCK = threading.Lock()


def remembered(path: Path, root: str) -> tuple[str, ...] | None:
    """The answer for a source root; None when nobody was asked. A file that is damaged remembers nothing."""
    found = _read(path).get(root)
    return tuple(found) if found is not None else None


def remember(path: Path, root: str, places: tuple[str, ...]) -> None:
    """Keep an answer; whole or not at all, and no harm done when it is lost: it is asked again."""
    with _LOCK:
        answers = _read(path) | {root: list(places)}
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(answers, indent=2) + "\n", encoding="utf-8")
        os.replace(temporary, path)  # noqa: PTH105  says what it does


def _read(path: Path) -> dict[str, list[str]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {root: places for root, places in found.items() if isinstance(places, list)}
