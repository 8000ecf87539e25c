"""Our looks where the yardstick can measure them."""

import random
from collections.abc import Iterator

from bench.yardstick import Law, Order, Piece
from pollers._core.looks import Looks, shortened
from pollers._core.model import Job, JobKey, Phase, Sighting, State
from pollers._queue import Hand
from pollers._watch import Pace, Watch

FOREVER = 1e6


def live(looks: Looks, takes: float, price: float, rng: random.Random) -> tuple[float, int]:
    """Look at a job until it ends, and learn from it: the delay and the looks."""
    age, count = 0.0, 0
    while True:
        due = looks.due({}, age, price=price, latest=age + FOREVER)
        look = age + shortened(due - age, rng.random())
        count += 1
        looks.looked({}, age, look, ended=takes <= look)
        if takes <= look:
            return look - takes, count
        age = look


def learned(law: Law, jobs: int, price: float, seed: int) -> Looks:
    """What is known after so many jobs."""
    looks, rng = Looks(), random.Random(seed)
    for _ in range(jobs):
        live(looks, law.draw(rng), price, rng)
    return looks


def plan(looks: Looks, price: float) -> Iterator[float]:
    """The looks at a job that never ends, as they are known now and without chance."""
    age = 0.0
    while True:
        age = looks.due({}, age, price=price, latest=age + FOREVER)
        yield age


class Ours(Order):
    """The poller's own bookkeeping, without its loop."""

    def __init__(self, batch: int, *, feature: bool = True, seed: int = 1) -> None:
        self.watch = Watch(Pace(), batch, random.Random(seed).random)
        self._pieces: dict[str, Piece] = {}
        self._hand = Hand()
        self._feature = feature

    def add(self, piece: Piece) -> None:
        """Watched from its beginning."""
        key = JobKey("bench", "local", "default", "jobs", piece.name)
        features = {"duration": piece.length} if self._feature else {}
        rid = len(self._pieces) + 1
        self._pieces[piece.name] = piece
        job = Job(
            rid=rid, version=1, key=key, state=State.WATCHING, created_at=piece.born,
            submitted_at=piece.born, features=features,
        )  # fmt: skip
        self.watch.add(job, now=piece.born, wall=piece.born, first_look=piece.born + 0.05)

    def pick(self, most: int, now: float) -> list[Piece]:
        """What the poller would ask for."""
        self._hand = Hand()
        return [self._pieces[name] for name in self.watch.pick(self._hand, most, now=now)]

    def saw(self, pieces: list[Piece], now: float) -> None:
        """What the provider would tell."""
        self.watch.saw(
            self._hand,
            {
                piece.name: Sighting(
                    remote_id=piece.name,
                    phase=Phase.SUCCEEDED if piece.ends_at <= now else Phase.PENDING,
                )
                for piece in pieces
            },
            now=now, wall=now,
        )  # fmt: skip
        for piece in pieces:
            if piece.ends_at <= now:
                self.watch.remove(int(piece.name[1:]))
