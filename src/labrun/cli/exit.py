"""Exit statuses: one table from error codes, one from endings. `docs/reference/errors.md` shows both."""

from collections.abc import Mapping
from typing import Any

GOOD = 0
REFUSED = 1
USAGE = 2
WORLD = 3
INTERNAL = 70
NEVER_RAN = 125
NOT_EXECUTABLE = 126
NO_SUCH_PROGRAM = 127
TIMED_OUT = 124
HUNG_UP = 129
INTERRUPTED = 130
OUTPUT_CLOSED = 141
TERMINATED = 143

OF_CODE = {
    "not_found": REFUSED,
    "ambiguous_reference": REFUSED,
    "ambiguous_arguments": REFUSED,
    "bad_staging": USAGE,
    "no_such_metric": REFUSED,
    "not_allowed_now": REFUSED,
    "bad_request": USAGE,
    "bad_value": USAGE,
    "unknown_option": USAGE,
    "bad_description": USAGE,
    "no_such_script": USAGE,
    "not_runnable": USAGE,
    "too_big": USAGE,
    "too_many_files": USAGE,
    "nothing_frozen": REFUSED,
    "impossible_request": USAGE,
    "key_reused": USAGE,
    "world_failed": WORLD,
    "home_unusable": WORLD,
    "home_busy": WORLD,
    "queue_missing": WORLD,
    "server_unreachable": WORLD,
    "host_unreachable": WORLD,
    "host_without_lab": WORLD,
    "server_stopping": WORLD,
    "disk_full": WORLD,
    "store_damaged": WORLD,
    "code_unreadable": WORLD,
    "engine_failed": WORLD,
    "internal": INTERNAL,
    "illegal_transition": INTERNAL,
    "error": WORLD,
}
"""Exit status of every error code; a code of a newer server counts as `error`."""

_OF_ERRNO = {
    "errno_2": NO_SUCH_PROGRAM,
    "errno_20": NO_SUCH_PROGRAM,
    "errno_8": NOT_EXECUTABLE,
    "errno_13": NOT_EXECUTABLE,
}


def of_error(code: str) -> int:
    """Exit status of a command that failed with this error."""
    return OF_CODE.get(code, WORLD)


def of_run(ending: Mapping[str, Any], error_code: str | None = None) -> int:
    """Exit status of `lab run`: the script's own wherever it has one.

    Args:
        ending: The attempt as the API shows it (`ending`, `exit_code`).
        error_code: For one that never started, the code in its journal.

    Source:
        bash(1), EXIT STATUS: 126, 127 and 128+n; timeout(1): 124, 125.
    """
    code: int | None = ending.get("exit_code")
    match ending.get("ending"):
        case "exited" | "signalled":
            return code if code is not None else NEVER_RAN
        case "timeout":
            return TIMED_OUT
        case "cancelled":
            return INTERRUPTED
        case "oom":
            return 128 + 9
        case "never_started":
            return _OF_ERRNO.get(error_code or "", NEVER_RAN)
        case _:
            return NEVER_RAN
