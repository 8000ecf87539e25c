"""``resilience lint``: exit codes, the promised JSON, file and line for people."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from resilience import catalogs
from resilience.cli import main

BROKEN = 'name = "mine"\n\n[codes.7]\nverdict = "quotta"\n'
DOUBTFUL = 'name = "mine"\n[codes.7]\nverdict = "fatal"\nescalate = { within = 9 }\n'
FINE = 'extends = "memories_ai"\n[codes.0402]\nprobe_every = 30\n'
RENDERFARM = Path(__file__).parents[2] / "examples/renderfarm.toml"


@pytest.fixture
def lint(monkeypatch, capsys, tmp_path):
    """Run the program in an empty folder; gives (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["resilience", "lint", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


def write(name, text):
    """A file in the current folder."""
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize("name", [*catalogs(), RENDERFARM])
def test_what_ships_is_fine(lint, name):
    """Even when warnings count."""
    assert lint(name, "--strict") == (0, "1 file: nothing wrong\n", "")


def test_a_finding_is_told_with_file_and_line(lint):
    """As compilers do it, so that editors can go there."""
    write("my.toml", BROKEN)

    code, out, err = lint("my.toml")
    finding, count = out.splitlines()

    assert (code, err, count) == (1, "", "1 file: 1 error")
    assert finding == (
        "my.toml:4: error: codes.7.verdict: 'quotta' is not one of success, retryable, quota, fatal. "
        "Did you mean 'quota'? [bad-value]"
    )


def test_json_has_exactly_the_promised_keys(lint):
    """An array of findings, empty if there is nothing to say."""
    write("my.toml", BROKEN)
    write("fine.toml", FINE)
    code, out, err = lint("my.toml", "--output", "json")

    assert (code, err) == (1, "")
    assert json.loads(out) == [
        {
            "file": "my.toml",
            "line": 4,
            "key": "codes.7.verdict",
            "check": "bad-value",
            "severity": "error",
            "reason": "'quotta' is not one of success, retryable, quota, fatal.",
            "advice": "Did you mean 'quota'?",
        }
    ]
    assert lint("fine.toml", "--output", "json") == (0, "[]\n", "")


def test_warnings_count_only_if_asked(lint):
    """They may be meant."""
    write("my.toml", DOUBTFUL)
    code, out, _ = lint("my.toml")

    assert (code, out.splitlines()[-1]) == (0, "1 file: 1 warning")
    assert out.startswith("my.toml:4: warning: codes.7.escalate: ")
    assert lint("my.toml", "--strict")[0] == 1


def test_many_files_are_told_together(lint):
    """One bad file is enough for exit code 1."""
    write("a.toml", FINE)
    write("b.toml", BROKEN)
    write("c.toml", DOUBTFUL)
    code, out, _ = lint("a.toml", "b.toml", "c.toml")

    assert code == 1
    assert [line.split(": ")[0] for line in out.splitlines()] == ["b.toml:4", "c.toml:4", "3 files"]
    assert out.endswith("3 files: 1 error, 1 warning\n")


def test_callers_limits_are_options(lint):
    """A wait of 90 s is too long for the default of 60 s, and for a deadline of 80 s."""
    write("my.toml", 'name = "mine"\n[codes.7]\nverdict = "quota"\nwait = 90\n')

    assert lint("my.toml")[0] == 1
    assert lint("my.toml", "--max-wait", 90)[0] == 0
    assert lint("my.toml", "--max-wait", 90, "--deadline", 80)[0] == 1


NOT_TOML = [
    pytest.param('name = "a"\nname = "b"\n', 2, id="key twice"),
    pytest.param("[codes.7]\n\n[codes.7]\n", 3, id="table twice"),
    pytest.param('name = "a"\ndocs =\nhosts = []\n', 2, id="no value"),
    pytest.param('name = "a"\ndocs = """x\n\n', 2, id="text without an end"),
    pytest.param("a = [" * 5000, 1, id="endless arrays"),
    pytest.param("a" + ".a" * 5000 + " = 1", 1, id="endless tables"),
    pytest.param("a = " + "9" * 5000, 1, id="endless number"),
]


@pytest.mark.parametrize(("text", "line"), NOT_TOML)
def test_what_is_not_toml_has_a_line_too(lint, text, line):
    """A key that stands there twice contradicts itself before anybody has read it."""
    write("my.toml", text)
    code, out, err = lint("my.toml")

    assert (code, err) == (1, "")
    assert out.startswith(f"my.toml:{line}: error: Not TOML: ")


def test_problems_of_extends_are_told_where_they_are(lint):
    """A parent that isn't there: where it is named.  One that isn't TOML, or is wrong: its own line."""
    write("sub/gone.toml", '\nextends = "nowhere.toml"\n')
    write("sub/bad.toml", "name = \n")
    write("sub/wrong.toml", BROKEN)
    for name in ("gone", "bad", "wrong"):
        write(f"{name}.toml", f'extends = "sub/{name}.toml"\n')
    write("loop.toml", '# again\nextends = "sub/../loop.toml"\n')

    assert lint("gone.toml")[1].startswith(
        "sub/gone.toml:2: error: extends: 'nowhere.toml' is neither"
    )
    assert lint("bad.toml")[1].startswith("sub/bad.toml:1: error: Not TOML: ")
    assert lint("wrong.toml")[1].startswith("sub/wrong.toml:4: error: codes.7.verdict: ")
    assert "leads back to" in lint("loop.toml")[1]


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([], id="no file"),
        pytest.param(["gone.toml"], id="no such file"),
        pytest.param(["."], id="a folder"),
        pytest.param(["memories_ai", "--output", "xml"], id="no such output"),
        pytest.param(["memories_ai", "--max-wait", "0"], id="no wait"),
    ],
)
def test_bad_usage_is_2(lint, arguments):
    """Nothing was looked at, so nothing is said about any policy."""
    code, out, err = lint(*arguments)

    assert (code, out) == (2, "")
    assert err.startswith("resilience: ")


@pytest.mark.slow
def test_as_a_program(tmp_path):
    """Installed, without a terminal: no colours, no traceback."""
    (tmp_path / "my.toml").write_text(BROKEN)
    done = subprocess.run(
        [sys.executable, "-m", "resilience.cli", "lint", "my.toml"], cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("my.toml:4: error: ")
