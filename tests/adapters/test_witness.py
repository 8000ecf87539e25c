"""Which answer an exception of a sync client is about, and when nobody can tell."""

import httpx
import pytest
from wrap_kit import BUSY, FAULT, OK, make_guard

from resilience import FatalError, RetriesExhausted
from resilience.testing import run_virtual


class Sync:
    """A sync SDK that makes two requests in one call; an exception among the answers is raised."""

    def __init__(self, *answers):
        self.answers = list(answers)
        transport = httpx.MockTransport(self._answer)
        self._http = httpx.Client(transport=transport, base_url="http://paper.test")

    def _answer(self, request):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(200, json=answer)

    def search(self):
        """Holds both answers when it fails."""
        token = self._http.post("/serve/api/v1/token")
        answer = self._http.post("/serve/api/v1/search")
        raise RuntimeError(f"{token.status_code} {answer.status_code}")

    def chained(self):
        """Repeats by itself, and says by an exception of its own that the connection was lost."""
        answer = self._http.post("/serve/api/v1/upload")
        try:
            answer = self._http.post("/serve/api/v1/upload")
        except httpx.TransportError as error:
            raise RuntimeError(f"lost after {answer.status_code}") from error

    def unchained(self):
        """The same without ``from``."""
        answer = self._http.post("/serve/api/v1/upload")
        try:
            answer = self._http.post("/serve/api/v1/upload")
        except httpx.TransportError:
            raise RuntimeError(f"lost after {answer.status_code}")  # noqa: B904


@pytest.mark.parametrize("answers", [(BUSY, OK), (OK, BUSY), (FAULT, BUSY)])
def test_of_two_answers_none_is_picked(answers):
    """Nothing tells which of them the exception is about, so it stands for itself."""

    async def main():
        with pytest.raises(FatalError) as caught:
            await make_guard().wrap(Sync(*answers), threads=True).search()
        assert caught.value.code == "RuntimeError"

    run_virtual(main)


@pytest.mark.parametrize(
    ("name", "kind"), [("chained", RetriesExhausted), ("unchained", FatalError)]
)
def test_a_lost_connection_is_not_the_answer_before_it(name, kind):
    """An upload that may have arrived is not made again because of a rejection before it."""

    async def main():
        raw = Sync(BUSY, httpx.ReadError("reset"), OK, OK)
        with pytest.raises(kind) as caught:
            await getattr(make_guard().wrap(raw, threads=True), name)()
        assert caught.value.code == "RuntimeError"
        assert raw.answers == [OK, OK]

    run_virtual(main)
