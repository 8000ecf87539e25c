"""What the site has beside its written pages: generated tables, and no remarks for the suite."""

import re
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))

from generate import api, catalogs, keys, numbers

_ROOT = Path(__file__).parent.parent
_TAKEN = {"herd.svg": "bench/results/herd.svg"}
_TABLES = {"keys": keys.tables, "numbers": numbers.table}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, the changelog and the chart."""
    made = (
        catalogs.pages()
        | api.pages()
        | {
            "changelog.md": (_ROOT / "CHANGELOG.md").read_text("utf-8"),
            "herd.md": (_ROOT / "bench/results/herd.md").read_text("utf-8"),
        }
    )
    for path, content in made.items():
        files.append(File.generated(config, path, content=content))
    for name, path in _TAKEN.items():
        files.append(File.generated(config, name, abs_src_path=str(_ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Take out what is for the suite alone, and put the generated tables in their place."""
    del page, config, files
    shown = re.sub(r"^<!--.*?-->\n?", "", markdown, flags=re.DOTALL | re.MULTILINE)
    for name, table in _TABLES.items():
        shown = shown.replace(f"{{{{ {name} }}}}", table())
    return shown


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Docstrings are written for a terminal: show their roles and block marks as what they mean."""
    del page, config, files
    html = re.sub(r":(?:meth|class|func|mod):(?=<code>|`)", "", html)
    return re.sub(r"\s*::</p>", ":</p>", html)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Refuse a page that would fetch anything: the site has to work without a network."""
    del config
    fetched = re.search(r'<(?:script|link|img|iframe)\b[^>]+="https?://[^"]+"', output)
    if fetched:
        raise PluginError(f"{page.file.src_path} would fetch {fetched[0]}")
    return output
