"""On which line a key of a TOML file stands."""

import tomllib

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from resilience._core.policy.positions import Document, lines_of
from resilience._files import catalogs, chain

TEXTS = [
    pytest.param("a = 1\nb = 2\n", {("a",): 1, ("b",): 2}, id="plain"),
    pytest.param("# a = 0\n\n  a = 1 # b = 2\n", {("a",): 3}, id="comments"),
    pytest.param("[t]\na = 1\n[u . v]\nb = 1\n", {("t",): 1, ("t", "a"): 2, ("u",): 3, ("u", "v"): 3, ("u", "v", "b"): 4}, id="tables"),
    pytest.param('[codes."a.b"]\n"q = \\u0031" = 1\n\'x"y\' = 2\n',
                 {("codes",): 1, ("codes", "a.b"): 1, ("codes", "a.b", "q = 1"): 2, ("codes", "a.b", 'x"y'): 3}, id="quoted keys"),
    pytest.param('a.b . "c" = 1\na.d = 2\n', {("a",): 1, ("a", "b"): 1, ("a", "b", "c"): 1, ("a", "d"): 2}, id="dotted keys"),
    pytest.param("[[e]]\na = 1\n[[e]]\n\na = 2\n[e.s]\nb = 1\n[[e.w]]\n[[e.w]]\nc = 1\n",
                 {("e",): 1, ("e", 0): 1, ("e", 0, "a"): 2, ("e", 1): 3, ("e", 1, "a"): 5, ("e", 1, "s"): 6, ("e", 1, "s", "b"): 7,
                  ("e", 1, "w"): 8, ("e", 1, "w", 0): 8, ("e", 1, "w", 1): 9, ("e", 1, "w", 1, "c"): 10}, id="arrays of tables"),
    pytest.param("[[c.x.w]]\na = 1\n[c.x]\nb = 1\n", {("c",): 1, ("c", "x"): 3, ("c", "x", "w"): 1, ("c", "x", "w", 0): 1, ("c", "x", "w", 0, "a"): 2, ("c", "x", "b"): 4},
                 id="a header after the tables inside it"),
    pytest.param("a = [\n  1, # ]\n  [2,\n   3],\n]\nb = 1\n",
                 {("a",): 1, ("a", 0): 2, ("a", 1): 3, ("a", 1, 0): 3, ("a", 1, 1): 4, ("b",): 6}, id="arrays over lines"),
    pytest.param("a = [[[1],[2]],\n[3]]\nb = 1\n",
                 {("a",): 1, ("a", 0): 1, ("a", 0, 0): 1, ("a", 0, 0, 0): 1, ("a", 0, 1): 1, ("a", 0, 1, 0): 1, ("a", 1): 2, ("a", 1, 0): 2, ("b",): 3},
                 id="arrays without blanks"),
    pytest.param('a = { b = "}", c.d = [{ e = 1 }, {}] }\nf = 1\n',
                 {("a",): 1, ("a", "b"): 1, ("a", "c"): 1, ("a", "c", "d"): 1, ("a", "c", "d", 0): 1, ("a", "c", "d", 0, "e"): 1, ("a", "c", "d", 1): 1, ("f",): 2}, id="inline tables"),
    pytest.param('a = """\nb = 1\n\\"""\n"""\nc = 1\n', {("a",): 1, ("c",): 5}, id="multi-line text"),
    pytest.param("a = '''\n[b]\n\\'''\nc = '''x''''' # two quotes of its own\nd = 1\n", {("a",): 1, ("c",): 4, ("d",): 5}, id="multi-line literal"),
    pytest.param('a = ["""x""", """""", "", \'\']\nb = "\\\\"\nc = 1\n',
                 {("a",): 1, ("a", 0): 1, ("a", 1): 1, ("a", 2): 1, ("a", 3): 1, ("b",): 2, ("c",): 3}, id="empty texts and escapes"),
    pytest.param("a = 1979-05-27 07:32:00\nb = inf\nc = 0xf\n", {("a",): 1, ("b",): 2, ("c",): 3}, id="other scalars"),
    pytest.param("a = 1\r\n[b]\r\nc = 1\r\n", {("a",): 1, ("b",): 2, ("b", "c"): 3}, id="lines of Windows"),
    pytest.param("", {}, id="nothing"),
    pytest.param("# only this", {}, id="a comment without an end"),
    pytest.param("a = 1", {("a",): 1}, id="no line end"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "lines"), TEXTS)
def test_every_key_and_item_has_its_line(text, lines):
    """Quoted, dotted, in arrays and inline tables, after texts that look like TOML."""
    tomllib.loads(text)

    assert lines_of(text) == lines


def paths(value, path=()):
    """Every key and item of what tomllib read."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*path, key)
        if isinstance(item, (dict, list)):
            yield from paths(item, (*path, key))


TRICKY = st.sampled_from(
    ["a", "b.c", "x y", '"', "'", "]", "}", "#", "=", "\\", "\n", '"""', "'''", "0", ""]
)
VALUES = st.recursive(
    TRICKY | st.integers(0, 3) | st.booleans() | st.floats(0, 1) | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TRICKY, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(TRICKY, VALUES, max_size=4), st.booleans())
def test_the_same_keys_are_found_as_by_tomllib(data, multiline):
    """Whatever stands in the file, no key is missed and none is invented."""
    text = tomli_w.dumps(data, multiline_strings=multiline)
    lines = lines_of(text)

    assert set(lines) == set(paths(tomllib.loads(text)))
    assert set(lines.values()) <= set(range(1, text.count("\n") + 2))


@pytest.mark.parametrize("name", catalogs())
def test_every_key_of_the_catalogs_is_found(name):
    """Real files, hundreds of tables; the last line of a scalar's key says that key."""
    document = next(chain(name))
    lines = document.text.splitlines()
    found = lines_of(document.text)

    assert set(found) == set(paths(tomllib.loads(document.text)))
    for path, line in found.items():
        if isinstance(path[-1], str):
            assert path[-1] in lines[line - 1]


def test_endpoints_of_one_name_are_told_apart():
    """A mistake, and each of them has its own line."""
    data = {"endpoints": [{"name": "a"}, {"name": "a"}, {"name": "b"}]}
    document = Document(source="x", file="x", data=data)
    assert document.local(("endpoints", 1, "name"), "a") == ("endpoints", 1, "name")
