"""``resilience codes | explain``: exit codes, the promised JSON, and text for people."""

import json
import os
import subprocess
import sys
from importlib.metadata import version

import pytest

from resilience import Policy
from resilience.cli import main

KEYS = ["code", "verdict", "recovers", "scope", "wait", "max_attempts", "certainty", "title", "remedy",
        "matched_by", "when", "policy"]  # fmt: skip


@pytest.fixture
def resilience(monkeypatch, capsys, tmp_path):
    """Run the program; gives (exit code, stdout, stderr)."""
    monkeypatch.delenv("RESILIENCE_POLICY", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["resilience", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


def asked(run, *arguments):
    """The JSON of an explanation."""
    code, out, err = run("explain", *arguments, "--output", "json")
    assert (code, err) == (0, "")
    return json.loads(out)


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_has_two_names(resilience, word):
    """As the other program's."""
    code, out, _ = resilience(word)
    assert code == 0
    assert "explain" in out


def test_version(resilience):
    """Of the package that has both programs."""
    assert resilience("--version")[1] == f"resilience, version {version('resilience-pollers')}\n"


# -- explain --------------------------------------------------------------------------------------


def test_explain_json_has_exactly_the_promised_keys(resilience):
    """In this order, for a listed code and for one that nobody knows."""
    for code in ("0429", "0001", "77"):
        assert list(asked(resilience, "memories_ai", code)) == KEYS


def test_explain_a_window(resilience):
    """Everything about 0429."""
    policy = Policy.load("memories_ai")

    assert {
        "code": "0429",
        "verdict": "quota",
        "recovers": "window",
        "scope": "endpoint",
        "wait": {"schedule": [1.0, 2.0, 4.0, 8.0, 16.0, 32.0], "jitter": "equal"},
        "max_attempts": None,
        "certainty": "not_executed",
        "title": "Request is too busy",
        "remedy": policy.codes["0429"].remedy,
        "matched_by": "codes.0429",
        "when": [],
        "policy": policy.version,
    } == asked(resilience, "memories_ai", "0429")


WAITS = [
    ("memos_cloud", "40112", 600.0),
    ("memos_cloud", "40113", 60.0),
    ("memos_cloud", "40114", {"until": "00:00", "tz": "Asia/Shanghai", "probe_every": 3600.0}),
    ("memos_cloud", "40304", {"probe_every": 3600.0}),
    ("memos_cloud", "50103", None),
    ("memos_cloud", "40303", None),
    ("memos_cloud", "0", None),
    ("memos_cloud", "50004", {"schedule": [1.0, 2.0, 4.0, 8.0, 16.0, 30.0], "jitter": "full"}),
]


@pytest.mark.parametrize(("policy", "code", "wait"), WAITS)
def test_explain_wait(resilience, policy, code, wait):
    """Seconds, a schedule, a calendar, the probes of a latched door, or nothing."""
    assert wait == asked(resilience, policy, code)["wait"]


def test_explain_looks_at_the_message(resilience):
    """One code, two meanings; the list says which condition holds."""
    plain = asked(resilience, "memories_ai", "0001")
    passing = asked(resilience, "memories_ai", "0001", "--message", "network abnormal")

    assert (plain["verdict"], plain["matched_by"]) == ("fatal", "codes.0001")
    assert (
        passing["verdict"], passing["matched_by"], passing["max_attempts"],
    ) == ("retryable", "codes.0001.when[0]", 3)  # fmt: skip
    assert [when["holds"] for when in plain["when"]] == [False]
    assert [when["holds"] for when in passing["when"]] == [True]
    assert "network" in plain["when"][0]["message"]


def test_explain_looks_at_the_endpoint(resilience):
    """In a chat the answer exists."""
    assert asked(resilience, "memos_cloud", "50144")["verdict"] == "retryable"
    assert asked(resilience, "memos_cloud", "50144", "--endpoint", "chat")["verdict"] == "fatal"


def test_explain_looks_at_the_status(resilience):
    """An unlisted code goes by its status, and so does a success under 503."""
    assert asked(resilience, "memories_ai", "77", "--status", "503")["matched_by"] == "http.503"
    assert asked(resilience, "memories_ai", "0000", "--status", "503")["matched_by"] == "http.503"
    assert asked(resilience, "memories_ai", "0429", "--status", "503")["matched_by"] == "codes.0429"


@pytest.mark.parametrize("code", ["77", "0503", "429 ", "weird", "-7"])
def test_explain_of_an_unknown_code_is_an_answer(resilience, code):
    """Nobody lists it: fatal, and that is worth knowing."""
    said = asked(resilience, "memories_ai", code)

    assert ("unknown", "fatal", code) == (said["matched_by"], said["verdict"], said["code"])


def test_explain_a_code_that_looks_like_an_option(resilience):
    """Understand answers -1."""
    assert asked(resilience, "memories_ai", "-1")["matched_by"] == "codes.-1"


def test_explain_alias_family_status_and_exception(resilience):
    """All that a policy can speak about."""
    assert asked(resilience, "memories_ai", "429")["matched_by"] == "codes.0429"
    assert asked(resilience, "memos_cloud", "40399")["matched_by"] == "families.403xx"
    assert asked(resilience, "http", "503")["matched_by"] == "http.503"
    assert asked(resilience, "http", "TimeoutError")["matched_by"] == "exceptions.TimeoutError"


def test_explain_text_answers_in_the_order_of_the_questions(resilience):
    """Verdict, what happens, how long, who else, what to do, where it is written, which rule."""
    code, out, err = resilience("explain", "memories_ai", "0429")
    words = ["QUOTA (window)  0429 Request is too busy", "The guard holds", "how long", "1 s, 2 s, 4 s, 8 s",
             "up to 32 s", "20 rejections", "who waits", "same endpoint", "what to do", "Slow down", "docs",
             "https://", "matched by", "codes.0429"]  # fmt: skip
    places = [out.find(word) for word in words]

    assert (code, err) == (0, "")
    assert -1 not in places
    assert sorted(places) == places
    assert out.startswith("QUOTA")
    assert max(map(len, out.splitlines())) <= 100


TEXTS = [
    (["memories_ai", "0000"], "hands the answer to the caller"),
    (["memories_ai", "0003"], "FatalError"),
    (["memories_ai", "0409"], "AlreadyDone"),
    (["memories_ai", "0401"], "everybody else behind the same door"),
    (["memories_ai", "0402"], "until a probe succeeds"),
    (["memories_ai", "0409", "--message", "busy"], "<- this one"),
    (["memos_cloud", "40112"], "10 min"),
    (["memos_cloud", "40113"], "1 min"),
    (["memos_cloud", "40114"], "until the next 00:00 in Asia/Shanghai"),
    (["memos_cloud", "40301"], "every call of the group 'chat' (chat)"),
    (["memos_cloud", "40304"], "every call of the account"),
    (["memos_cloud", "50004"], "at most 5, the first included"),
    (["memos_cloud", "50121"], "waiting frees nothing"),
    (["memos_cloud", "40307"], "the endpoint is 'delete_memory'"),
    (["memos_cloud", "40309"], "[Add message (2026)]"),
    (["http", "500"], "as many as the caller allows (4 by default)"),
]


@pytest.mark.parametrize(("arguments", "words"), TEXTS)
def test_explain_text(resilience, arguments, words):
    """Each kind of rule has its sentence."""
    code, out, _ = resilience("explain", *arguments)

    assert code == 0
    assert words in " ".join(out.split())


def test_unknown_endpoint_is_noted(resilience):
    """Any name is allowed, but most are typos; the answer on stdout stays clean."""
    code, out, err = resilience(
        "explain", "memories_ai", "0429", "--endpoint", "lst", "--output", "json"
    )

    assert code == 0
    assert json.loads(out)["matched_by"] == "codes.0429"
    assert "did you mean 'list'?" in err


# -- codes ----------------------------------------------------------------------------------------


def test_codes_json_lists_every_code_and_marks_aliases(resilience):
    """One object per code, with what a script needs."""
    code, out, err = resilience("codes", "memories_ai", "--output", "json")
    rows = {row["code"]: row for row in json.loads(out)}

    assert (code, err) == (0, "")
    assert set(Policy.load("memories_ai").codes) == set(rows)
    assert (
        rows["0429"]["alias_of"],
        rows["429"]["alias_of"],
        rows["200"]["alias_of"],
    ) == (None, "0429", "0000")
    assert {"verdict", "recovers", "scope", "wait", "max_attempts", "title", "remedy"} <= set(
        rows["0429"]
    )
    assert asked(resilience, "memories_ai", "0402")["wait"] == rows["0402"]["wait"]


def test_codes_as_plain_text(resilience):
    """Aligned columns, a line per code, no colours and no cut when it is no terminal."""
    code, out, _ = resilience("codes", "memos_cloud")
    head, *lines = out.splitlines()
    policy = Policy.load("memos_cloud")

    assert code == 0
    assert head.split() == [
        "code",
        "verdict",
        "recovers",
        "scope",
        "wait",
        "tries",
        "title",
        "remedy",
    ]
    assert len(policy.codes) == len(lines)
    assert "\x1b" not in out
    line = next(line for line in lines if line.startswith("40112 "))
    assert line.split()[:6] == ["40112", "quota", "cooldown", "console", "10", "min"]
    assert line.index("quota") == head.index("verdict")
    assert policy.codes["40112"].remedy in line
    assert any(line.startswith("200 = 0 ") for line in lines)


def test_codes_on_a_terminal(resilience, monkeypatch):
    """A table with the policy's version as its title."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    code, out, _ = resilience("codes", "memories_ai")

    assert code == 0
    assert Policy.load("memories_ai").version in out
    assert "0429" in out
    assert "Request is too busy" in out


# -- policies and mistakes --------------------------------------------------------------------------


def test_policy_by_path(resilience, tmp_path):
    """The argument is a catalog or a file."""
    (tmp_path / "my.toml").write_text(
        'name = "mine"\nextends = "memories_ai"\n[codes.4711]\nverdict = "fatal"'
    )

    assert asked(resilience, "my.toml", "4711")["matched_by"] == "codes.4711"
    assert asked(resilience, "my.toml", "0429")["policy"].startswith("mine@")


BAD_FILES = [
    (
        'name = "x"\n[codes.1]\nverdict = "quotta"',
        ["codes.1.verdict", "'quotta'", "did you mean 'quota'"],
    ),
    (
        'name = "x"\n[codes.1]\nverdict = "fatal"\nremdy = "a"',
        ["codes.1.remdy", "did you mean 'remedy'"],
    ),
    ("name = ", ["not TOML"]),
]


@pytest.mark.parametrize(("text", "words"), BAD_FILES)
@pytest.mark.parametrize("command", [["codes"], ["explain"]])
def test_bad_policy_is_one_line(resilience, tmp_path, command, text, words):
    """File, key, value on stderr; nothing on stdout; exit 2."""
    (tmp_path / "bad.toml").write_text(text)
    code, out, err = resilience(*command, "bad.toml", *(["1"] if command == ["explain"] else []))

    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("resilience: bad.toml")
    assert all(word in err for word in words)


USAGE = [
    ([], "Missing command"),
    (["explian"], "explian"),
    (["codes"], "POLICY"),
    (["explain", "memories_ai"], "CODE"),
    (["codes", "memories_aj"], "did you mean 'memories_ai'"),
    (["codes", "memories_ai", "--output", "xml"], "xml"),
    (["codes", "memories_ai", "--bogus"], "--bogus"),
    (["explain", "memories_ai", "1", "2"], "unexpected"),
    (["explain", "memories_ai", "1", "--status", "abc"], "abc"),
    (["explain", "memories_ai", "1", "--status", "99"], "99"),
]


@pytest.mark.parametrize(("arguments", "word"), USAGE)
def test_bad_usage_is_one_line(resilience, arguments, word):
    """Exit 2, and what was wrong."""
    code, out, err = resilience(*arguments)

    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert word in err


def test_help(resilience):
    """Names both commands, and is no error."""
    code, out, _ = resilience("--help")

    assert code == 0
    assert "codes" in out
    assert "explain" in out


def run(*arguments, **environment):
    """The program in a process of its own."""
    path = os.pathsep.join([environment.pop("front", ""), *sys.path]).strip(os.pathsep)
    return subprocess.run(
        [sys.executable, "-m", "resilience.cli", *arguments], capture_output=True, text=True, check=False,
        env={**os.environ, **environment, "PYTHONPATH": path},
    )  # fmt: skip


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_missing_extra_says_what_to_install(tmp_path, missing):
    """Without the extra ``cli``: one line, exit 2."""
    name = tmp_path / f"{missing}.py"
    name.write_text(f"raise ModuleNotFoundError('no {missing}', name='{missing}')")
    done = run("codes", "memories_ai", front=str(tmp_path))

    assert done.returncode == 2
    assert "pip install 'resilience-pollers[cli]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_module_runs():
    """``python -m resilience.cli`` is the same program."""
    done = run("explain", "memories_ai", "0429", "--output", "json")

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["matched_by"] == "codes.0429"


def test_reader_who_has_seen_enough():
    """``resilience codes … | head -1`` ends quietly."""
    script = f"{sys.executable} -m resilience.cli codes memos_cloud --output json | head -1"
    done = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip

    assert (done.stdout, done.stderr) == ("[\n", "")
