"""What tests share: waiting for the world without sleeping blindly, properties that grow by night."""

import time
from collections.abc import Callable

import hypothesis


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


def examples(by_day: int) -> int:
    """Say how many examples a property with its own number runs: as many times more as the others by night."""
    return max(1, by_day * hypothesis.settings().max_examples // 100)
