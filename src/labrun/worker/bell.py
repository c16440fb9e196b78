"""Waking everybody who waits for a change, without losing a change between look and wait."""

import asyncio
from collections.abc import Callable


class Bell:
    """Rings when something changed. Look first, then wait on the bell taken before the look."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Wake everybody who waits now."""
        rung, self._event = self._event, asyncio.Event()
        rung.set()

    async def wait(self, timeout_s: float | None = None) -> None:
        """Return at the next ring, or silently after the timeout."""
        event = self._event
        try:
            async with asyncio.timeout(timeout_s):
                await event.wait()
        except TimeoutError:
            pass

    async def wait_for(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until the condition holds; False when the timeout came first."""
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    await self._event.wait()
        except TimeoutError:
            return condition()
        return True
