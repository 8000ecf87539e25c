"""Reading a few values out of a body: as bytes, as text, decoded, and as objects, all alike."""

import json
from types import SimpleNamespace

import pytest

from resilience._core.policy.reader import OPAQUE, Reader, UnreadableError, tokens

BODY = {
    "code": "0429",
    "data": {"id": 7, "items": [{"state": "parsed"}, {"state": "failed"}], "more": {"deep": None}},
    "a/b": {"~": 1.5},
}
# pointer -> what it finds, as RFC 6901 says
FOUND = {
    "/code": "0429",
    "/data": OPAQUE,
    "/data/id": 7,
    "/data/items": OPAQUE,
    "/data/items/1/state": "failed",
    "/data/more/deep": None,
    "/a~1b/~0": 1.5,
}
ABSENT = ("/msg", "/code/below", "/data/items/2/state", "/data/items/first", "/data/id/0")


def objects(value):
    """The same as a client's model classes would have it."""
    if isinstance(value, dict):
        return SimpleNamespace(**{key: objects(item) for key, item in value.items()})
    return [objects(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(lambda body: json.dumps(body).encode(), id="bytes"),
        pytest.param(json.dumps, id="text"),
        pytest.param(lambda body: memoryview(json.dumps(body).encode()), id="memoryview"),
        pytest.param(lambda body: "\ufeff" + json.dumps(body), id="with a byte order mark"),
        pytest.param(lambda body: json.dumps(body).encode("utf-16"), id="UTF-16"),
        pytest.param(lambda body: body, id="decoded"),
    ],
)
def test_pointers_find_the_same_in_every_form(form):
    """What is there, scalars as they are; what is not there is not in the answer."""
    assert Reader([*FOUND, *ABSENT]).read(form(BODY)) == FOUND


def test_each_pointer_finds_its_own_alone():
    """Whatever else is asked for."""
    raw = json.dumps(BODY).encode()
    for pointer, value in FOUND.items():
        assert Reader([pointer]).read(raw) == {pointer: value}
    for pointer in ABSENT:
        assert Reader([pointer]).read(raw) == {}


def test_attributes_are_read_like_keys():
    """Of an object that a client made of the body."""
    asked = [p for p in FOUND if "~" not in p]
    assert Reader([*asked, *ABSENT]).read(objects(BODY)) == {p: FOUND[p] for p in asked}


def test_an_array_is_read_by_index():
    """The body itself may be one."""
    raw = json.dumps([{"code": 1}, {"code": 2}]).encode()
    assert Reader(["/1/code", "/0/code", "/2/code"]).read(raw) == {"/0/code": 1, "/1/code": 2}


@pytest.mark.parametrize("raw", [b'{"code": "04', b"[1, 2", b"<html>", b"", b'"open'])
def test_what_is_cut_off_is_no_answer(raw):
    """An object, an array, a string, or no JSON at all; with pointers into arrays and without."""
    for pointers in (["/code"], ["/0"]):
        with pytest.raises(UnreadableError):
            Reader(pointers).read(raw)


@pytest.mark.parametrize("raw", [b"[1, 2]", b'"text"', b"7", b"null"])
def test_what_has_no_members_has_nothing(raw):
    """Valid JSON that is no object says nothing."""
    assert Reader(["/code", "/code/x"]).read(raw) == {}


def test_numbers_that_no_float_holds_are_kept_as_written():
    """NaN is not JSON, but servers send it; thousands of digits are no number that Python reads."""
    huge = "9" * 5000
    assert Reader(["/a", "/b"]).read(f'{{"a": {huge}, "b": 1}}'.encode()) == {"/a": huge, "/b": 1}
    assert str(Reader(["/a"]).read(b'{"a": NaN}')["/a"]) == "nan"


def test_steps_of_a_pointer():
    """``~1`` is a slash, ``~0`` a tilde, in that order; the empty pointer has no steps."""
    assert tokens("/a~1b/~01/c") == ["a/b", "~1", "c"]
    assert tokens("") == []
