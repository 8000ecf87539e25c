"""Every page of the site is run: code, files and commands, with the output that it shows."""

import re

import pytest
from snippets_kit import ROOT, assert_like, blocks, look_up, run_document

DOCS = ROOT / "docs"
PAGES = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))
LANGUAGES = {"python", "console", "text", "toml", "json"}


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
