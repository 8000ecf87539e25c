"""Every page of the site is run: code, files and commands, with the output that it shows."""

import re

import pytest
from generate import catalogs as tables
from generate import keys, numbers
from snippets_kit import ROOT, assert_like, blocks, look_up, run_document

from resilience import CallSettings, Policy, catalogs

DOCS = ROOT / "docs"
PAGES = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))
LANGUAGES = {"python", "console", "text", "toml"}


def text_of(page):
    """The source of a page."""
    return (DOCS / page).read_text("utf-8")


def with_snippets():
    """Pages that have something to run; those with commands take real seconds."""
    for page in PAGES:
        languages = {block.language for block in blocks(text_of(page))}
        if languages:
            yield pytest.param(page, marks=pytest.mark.slow if "console" in languages else ())


@pytest.mark.parametrize("page", list(with_snippets()))
async def test_every_snippet_of_a_page_runs(page, tmp_path, monkeypatch):
    """What a page shows works as it stands, and prints what it shows."""
    monkeypatch.chdir(tmp_path)
    await run_document(text_of(page), tmp_path, page)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_only_what_is_run(page):
    """Every fence is one that the runner knows; a program that is shown is also started."""
    text = text_of(page)
    found = blocks(text)
    assert {block.language for block in found} <= LANGUAGES
    assert len(found) * 2 == len(re.findall(r"^ *```", text, re.MULTILINE))
    shown = "\n".join(block.text for block in found if block.language == "console")
    for block in found:
        if block.title and block.title.endswith(".py"):
            assert f"python {block.title}" in shown, block.title
        elif block.language == "toml":
            assert block.title, "a policy that is shown is a file that is loaded"


@pytest.mark.parametrize("name", catalogs())
def test_a_catalog_s_page_has_every_code(name):
    """Aliases, statuses, exceptions and endpoints too; every row has the cells of its table."""
    page = tables.pages()[f"reference/codes/{name}.md"]
    policy = Policy.load(name)
    listed = [*policy.codes, *policy.table.http, *policy.table.exceptions, *policy.endpoints]
    assert [one for one in listed if f"`{one}`" not in page] == []
    assert_square(page)


@pytest.mark.parametrize(
    ("code", "cells"),
    [
        pytest.param("0429", ["quota, window", "1 s..32 s", "endpoint"], id="window"),
        pytest.param("0402", ["quota, exhausted", "probe/1 min", "account"], id="exhausted"),
        pytest.param("0003", ["fatal", "-", "request"], id="fatal"),
    ],
)
def test_a_row_says_what_is_done(code, cells):
    """Verdict, wait and scope, and then what it means."""
    page = tables.pages()["reference/codes/memories_ai.md"]
    (row,) = (line for line in page.splitlines() if f'id="{code}"' in line)
    assert row.split(" | ")[1:4] == cells
    assert Policy.load("memories_ai").explain(code).remedy in row


def test_the_other_tables_are_whole():
    """Keys of policy files, and the numbers of all libraries."""
    assert_square(keys.tables())
    assert_square(numbers.table())
    assert len(numbers.table().splitlines()) == 6


def assert_square(page):
    """Within a table every row has as many cells as the first; a bar in code is no border."""
    for table in re.findall(r"(?:^\|.*\n?)+", page, re.MULTILINE):
        rows = [re.sub(r"`[^`]*`", "", row) for row in table.splitlines()]
        assert {row.count("|") for row in rows} == {rows[0].count("|")}, rows[0]


def test_every_option_is_documented():
    """The page of options has all of them, and no other."""
    options = text_of("reference/options.md").split("## What each verdict does")[0]
    documented = re.findall(r"^\| `(\w+)` ", options, re.MULTILINE)
    assert sorted(documented) == sorted(CallSettings.__annotations__)


def test_every_page_is_in_the_menu():
    """No page is lost, and the menu names none that isn't there."""
    menu = (ROOT / "mkdocs.yml").read_text("utf-8")
    named = set(re.findall(r"(?:: |- )([\w/]+\.md)$", menu, re.MULTILINE))
    made = {page for page in named if page.startswith(("reference/codes", "reference/api"))}
    assert named - made - {"changelog.md", "herd.md"} == set(PAGES)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        pytest.param("one 17 s\n", "one 18 s", id="another number"),
        pytest.param("one\ntwo\n", "one", id="a line too many"),
        pytest.param("a[0]\n", "a0", id="brackets are brackets"),
    ],
)
def test_another_output_is_noticed(output, expected):
    """A comparison that can't fail proves nothing."""
    with pytest.raises(AssertionError):
        assert_like(output, expected, "here")
    assert_like(output, output.replace("17", "…"), "here")


@pytest.mark.parametrize("command", ["make nothing", "pip install 'resilience-pollers[none]'"])
def test_what_is_only_looked_up_has_to_be_there(command):
    """Targets and extras exist."""
    with pytest.raises(AssertionError):
        look_up(command)
