"""Ask something as a user who is not root: root may read everything."""

import os
from collections.abc import Callable
from pathlib import Path

NOBODY = 65534


def refusal(ask: Callable[[], object], refused: type[Exception], home: Path) -> str:
    """What a call says when an ordinary user makes it; empty when it is not refused."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        os.environ["HOME"] = str(home)
        try:
            ask()
        except refused as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return text
