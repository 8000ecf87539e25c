"""Who waits for what in a poller, and how they are told."""

import anyio


class News:
    """What is new.  Take an event to wait for before you read: what comes in between is then seen."""

    def __init__(self) -> None:
        self.head = 0
        """The number of the last event in the store."""
        self.stored = anyio.Event()
        """The next commit."""
        self.delivered = anyio.Event()
        """The next step of a sink."""
        self._ends: dict[int, anyio.Event] = {}
        """By row id: the ends that somebody waits for."""

    def tell_stored(self, head: int = 0) -> None:
        """Events were committed, up to this number; call it after the commit, never before."""
        self.head = max(self.head, head)
        self.stored.set()
        self.stored = anyio.Event()

    def tell_delivered(self) -> None:
        """A sink has got on."""
        self.delivered.set()
        self.delivered = anyio.Event()

    async def end_of(self, rid: int) -> None:
        """Wait for the end of a job, or of everything."""
        await self._ends.setdefault(rid, anyio.Event()).wait()

    def tell_ended(self, rid: int) -> None:
        """A job has ended."""
        waiter = self._ends.pop(rid, None)
        if waiter is not None:
            waiter.set()

    def tell_over(self) -> None:
        """Nothing will happen any more: wake everybody."""
        for waiter in self._ends.values():
            waiter.set()
        self.tell_delivered()
        self.tell_stored()
