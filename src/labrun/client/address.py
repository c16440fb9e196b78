"""Where a home's server listens."""

import json
from pathlib import Path

SOCKET = "server.sock"


def socket_of(home: Path) -> Path:
    """Path of the socket: in the home, or on the local disk that `lab init --state` chose for it."""
    direct = home / SOCKET
    if direct.exists():
        return direct
    try:
        state = json.loads((home / "home.json").read_bytes()).get("state")
    except (OSError, ValueError, AttributeError):  # no home yet, or not ours: the server will say what is wrong
        return direct
    return Path(state) / SOCKET if isinstance(state, str) else direct
