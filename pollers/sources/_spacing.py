"""Requests of one source keep apart, whichever look they are of."""

import math

import anyio


class Spacing:
    """Lets one go at a time, so many seconds after the last."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._free_at = -math.inf
        """Loop time from which the next may go."""
        self._turn = anyio.Lock(fast_acquire=True)

    async def wait(self) -> None:
        """Until one may go; it is taken to go then."""
        async with self._turn:
            # of a clock that is another loop's, no more than the spacing can be left
            left = min(self._free_at - anyio.current_time(), self._seconds)
            if left > 0:
                await anyio.sleep(left)
            self.went()

    def went(self) -> None:
        """One goes only now, as it had to wait for something else."""
        self._free_at = anyio.current_time() + self._seconds
