"""Between a poller and whoever observes it: an observer that fails harms nobody."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from pollers._log import crash, log
from pollers.observe import Doing, Observer, Record


class Telling:
    """What a poller tells through."""

    def __init__(self, observer: Observer | None) -> None:
        self._observer = observer

    @property
    def heard(self) -> bool:
        """Whether anybody listens."""
        return self._observer is not None

    @contextmanager
    def doing(self, what: Doing, about: Mapping[str, str]) -> Iterator[None]:
        """See ``Observer.doing``.  What happens inside is not the observer's to handle."""
        block = self._entered(what, about)
        try:
            yield
        finally:
            if block is not None:
                try:
                    block.__exit__(None, None, None)
                except Exception as error:  # noqa: BLE001  # the edge to a user's code
                    _failed(error)

    def tell(self, record: Record) -> None:
        """See ``Observer.tell``."""
        if self._observer is not None:
            try:
                self._observer.tell(record)
            except Exception as error:  # noqa: BLE001  # the edge to a user's code
                _failed(error)

    def _entered(
        self, what: Doing, about: Mapping[str, str]
    ) -> AbstractContextManager[object] | None:
        if self._observer is None:
            return None
        try:
            block = self._observer.doing(what, about)
            block.__enter__()
        except Exception as error:  # noqa: BLE001  # the edge to a user's code
            _failed(error)
            return None
        return block


def _failed(error: Exception) -> None:
    log.error("pollers.observer_failed", **crash(error))
