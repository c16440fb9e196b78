"""What tests share: waiting for the world without sleeping blindly."""

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], object], timeout_s: float = 10.0, what: str = "condition") -> None:
    """Poll until the condition holds; fail loudly after the deadline.

    Args:
        condition: Called every 10 ms; any true value ends the wait.
        timeout_s: Generous on purpose: machines that run tests are shared and slow.
        what: Named in the failure.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout_s} s")
        time.sleep(0.01)
