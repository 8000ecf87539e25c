"""The record of what was asked and answered; a test reads it, nothing in the emulator does."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One request to the API.

    Attributes:
        time: When it arrived, seconds on the loop's clock.
        method: The HTTP method.
        path: The path without its query.
        interface: Which of the API's interfaces ("list", "search_memory", …); "other" for an
            unknown path.
        account: Whose key it carried; None for nobody's.  The key itself is never kept.
        video_nos: The videos or assets it asked for.
        ids: The tasks, files, memories or knowledge bases it asked for or made.
        tokens: Input tokens that it was charged for.
        code: Code in the answer's envelope or error; None if it had none.
        status: HTTP status; None if nothing was sent.
        fault: Name of the fault that shaped the answer.
    """

    time: float
    method: str
    path: str
    interface: str
    account: str | None = None
    video_nos: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    tokens: int = 0
    code: str | None = None
    status: int | None = None
    fault: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The record as plain data."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """One callback that was made, or lost on purpose.

    Attributes:
        time: When it was made, seconds on the loop's clock.
        url: Where it went, without its query.
        payload: What it said.
        status: HTTP status of the receiver's answer; None if there was none.
        lost: Whether a setting kept it from being made.
        forged: Whether a stranger made it, and nothing in it is true.
    """

    time: float
    url: str
    payload: dict[str, str]
    status: int | None = None
    lost: bool = False
    forged: bool = False

    def as_json(self) -> dict[str, Any]:
        """The record as plain data."""
        return asdict(self)
