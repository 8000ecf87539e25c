"""Policies as users hold them: loading, extending, changing, naming by environment, versions."""

import pickle
import subprocess
import sys
from datetime import timedelta

import pytest

from resilience import (
    Policy,
    PolicyError,
    Recovers,
    Verdict,
    catalogs,
    fatal,
    quota,
    retryable,
    success,
)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch, tmp_path):
    """No variable from outside, and an empty current directory."""
    monkeypatch.delenv("RESILIENCE_POLICY", raising=False)
    monkeypatch.chdir(tmp_path)


def write(path, text):
    """A file, and its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return str(path)


def test_catalogs():
    """Three ship with the library."""
    assert catalogs() == ["http", "memories_ai", "memos_cloud"]


def test_file_extends_a_catalog(tmp_path):
    """It lists only what differs; everything else is inherited."""
    name = write(tmp_path / "my.toml", """
        name = "memories_ai"
        extends = "memories_ai"
        [codes.0429]
        scope = "account"
        [codes.4711]
        verdict = "fatal"
        [[endpoints]]
        name = "upload"
        repeat = "safe"
    """)  # fmt: skip
    policy, parent = Policy.load(name), Policy.load("memories_ai")

    assert (policy.codes["429"].scope, policy.codes["429"].verdict) == ("account", Verdict.QUOTA)
    assert parent.codes["0429"].title == policy.codes["0429"].title
    assert policy.codes["4711"].verdict == Verdict.FATAL
    assert policy.endpoints["upload"].repeat == "safe"
    assert parent.endpoints["upload"].match == policy.endpoints["upload"].match
    assert parent.hosts == policy.hosts
    assert parent.version != policy.version


def test_catalogs_extend_http():
    """A provider's catalog knows plain statuses and exceptions too."""
    assert Policy.load("memos_cloud").classify(None, status=503).matched_by == "http.503"


def test_relative_parents(tmp_path, monkeypatch):
    """A parent's path counts from the child's folder, not from where the program runs."""
    write(tmp_path / "etc" / "base" / "grand.toml", 'name = "g"\n[codes.1]\nverdict = "fatal"')
    write(tmp_path / "etc" / "base" / "parent.toml", 'name = "p"\nextends = "grand.toml"')
    write(tmp_path / "etc" / "child.toml", 'name = "c"\nextends = "base/parent.toml"')
    policy = Policy.load("etc/child.toml")

    assert ("c", {"1"}) == (policy.name, set(policy.codes))


def test_dict_extends_too():
    """The same tables as in a file."""
    assert "0429" in Policy.from_dict({"name": "x", "extends": "memories_ai"}).codes


CYCLES = [
    {"a.toml": "a.toml"},
    {"a.toml": "b.toml", "b.toml": "a.toml"},
    {"a.toml": "b.toml", "b.toml": "c.toml", "c.toml": "b.toml"},
    {"a.toml": "sub/b.toml", "sub/b.toml": "../a.toml"},
]


@pytest.mark.parametrize("files", CYCLES, ids=["itself", "two", "three", "by other paths"])
def test_cycles_end(tmp_path, files):
    """A policy that extends itself, by whatever detour, is an error and not a hang."""
    for name, parent in files.items():
        write(tmp_path / name, f'name = "x"\nextends = "{parent}"')

    with pytest.raises(PolicyError, match="leads back to"):
        Policy.load("a.toml")


def test_missing_parent_names_both_files(tmp_path):
    """Who asked, and for what."""
    write(tmp_path / "a.toml", 'name = "x"\nextends = "gone.toml"')

    with pytest.raises(PolicyError, match=r"a\.toml: extends: 'gone\.toml' is neither a catalog"):
        Policy.load("a.toml")


def test_mistake_in_the_grandparent_names_its_file(tmp_path):
    """The file to mend is in the message."""
    write(tmp_path / "a.toml", 'name = "x"\nextends = "b.toml"')
    write(tmp_path / "b.toml", 'name = "x"\nextends = "c.toml"')
    write(tmp_path / "c.toml", "name = ")

    with pytest.raises(PolicyError, match=r"c\.toml: not TOML"):
        Policy.load("a.toml")


def test_what_is_no_policy(tmp_path):
    """A missing file with its near miss, a folder, a binary file, a broken file."""
    write(tmp_path / "bad.toml", "verdict = fatal")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "folder").mkdir()

    for name, words in [
        ("memories_aj", "did you mean 'memories_ai'"),
        ("folder", "cannot be read"),
        ("binary.toml", "cannot be read"),
        ("bad.toml", "not TOML"),
    ]:
        with pytest.raises(PolicyError, match=words) as caught:
            Policy.load(name)
        assert name in str(caught.value)


def test_environment_names_the_policy(tmp_path, monkeypatch):
    """``load()`` reads the file that the variable names."""
    monkeypatch.setenv("RESILIENCE_POLICY", write(tmp_path / "p.toml", 'name = "mine"'))

    assert Policy.load().name == "mine"


def test_load_without_a_name_and_without_the_variable():
    """Says what to do."""
    with pytest.raises(PolicyError, match=r"\$RESILIENCE_POLICY"):
        Policy.load()


def test_environment_replaces_the_catalog_of_its_name_only(tmp_path, monkeypatch):
    """An operator's file for memories_ai is used where a program asks for memories_ai."""
    text = 'name = "memories_ai"\nextends = "memories_ai"\n[codes.0429]\nverdict = "fatal"'
    name = write(tmp_path / "p.toml", text)
    plain = Policy.load("memos_cloud").version
    monkeypatch.setenv("RESILIENCE_POLICY", name)

    assert Policy.load("memories_ai").codes["0429"].verdict == Verdict.FATAL
    assert plain == Policy.load("memos_cloud").version
    other = write(tmp_path / "other.toml", 'name = "memories_ai"')
    assert other == Policy.load(other).source


def test_with_codes_replaces_behaviour_and_keeps_words():
    """Wait, scope and conditions of the old rule are gone; title, remedy, docs and aliases stay."""
    policy = Policy.load("memories_ai")
    old = policy.codes["0429"]
    new = policy.with_codes({"0429": fatal()}).codes["0429"]

    assert (new.verdict, new.scope, new.escalate) == (Verdict.FATAL, "request", None)
    assert (old.title, old.remedy, old.docs) == (new.title, new.remedy, new.docs)
    assert policy.codes["0429"].verdict == Verdict.QUOTA  # the old policy is as it was
    assert policy.with_codes({"0429": fatal()}).codes["429"].verdict == Verdict.FATAL


def test_with_codes_finds_the_code_of_an_alias():
    """429, ``"429"`` and ``"0429"`` are one rule."""
    policy = Policy.load("memories_ai").with_codes({429: retryable(max_attempts=2)})

    assert 2 == policy.codes["0429"].max_attempts == policy.codes["429"].max_attempts


def test_with_codes_drops_the_conditions():
    """After ``0001`` was said to be retryable, it is, whatever the message."""
    policy = Policy.load("memories_ai").with_codes({"0001": success()})

    assert (
        policy.classify({"code": "0001", "msg": "network"}, status=200).verdict == Verdict.SUCCESS
    )


def test_with_codes_takes_new_codes():
    """A code that the catalog doesn't know."""
    policy = Policy.load("memos_cloud").with_codes(
        {59999: quota("cooldown", scope="chat", wait=timedelta(minutes=2))}
    )
    rule = policy.codes["59999"]

    assert (rule.recovers, rule.scope, rule.wait.schedule) == (Recovers.COOLDOWN, "chat", (120.0,))


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (quota("windw"), "did you mean 'window'"),
        (quota(scope="chatt"), "chatt"),
        (retryable(wait={"backoff": "expo", "nope": 1}), "nope"),
        (fatal(max_attemps=3), "did you mean 'max_attempts'"),
        (retryable(certainty="perhaps"), "perhaps"),
        (retryable(wait=object()), "object"),
    ],
)
def test_with_codes_complains_like_a_file(behaviour, words):
    """And says that it was with_codes."""
    with pytest.raises(PolicyError, match=words) as caught:
        Policy.load("memories_ai").with_codes({"0429": behaviour})

    assert "with_codes: codes.0429." in str(caught.value)


def test_makers_say_what_they_say():
    """The four functions are short spellings of a rule's table."""
    assert success() == {"verdict": "success"}
    assert fatal() == {"verdict": "fatal"}
    assert fatal(scope="account") == {"verdict": "fatal", "scope": "account"}
    assert quota() == {"verdict": "quota", "recovers": "window", "scope": "endpoint"}
    assert retryable(wait=timedelta(seconds=2)) == {"verdict": "retryable", "wait": 2.0}


CHANGES = [
    {"codes": {"1": {"verdict": "quota"}}},
    {"codes": {"1": {"verdict": "fatal", "scope": "account"}}},
    {"codes": {"1": {"verdict": "fatal", "title": "t"}}},
    {"codes": {"1": {"verdict": "fatal"}, "2": {"verdict": "fatal"}}},
    {"hosts": ["h"]},
    {"http": {"503": {"verdict": "fatal"}}},
    {"unknown": {"verdict": "retryable"}},
    {"endpoints": [{"name": "a"}]},
    {"envelope": [{"required": ["/a"]}]},
]


def test_version_changes_with_any_rule():
    """All different, and each starts with the name."""
    base = {"name": "x", "codes": {"1": {"verdict": "fatal"}}}
    versions = [Policy.from_dict(base).version]
    versions += [Policy.from_dict({**base, **change}).version for change in CHANGES]

    assert len(versions) == len(set(versions))
    assert all(version.startswith("x@") for version in versions)


def test_version_ignores_the_order_of_keys():
    """The same rules, written down in another order."""
    one = {
        "name": "x",
        "codes": {"1": {"verdict": "quota", "scope": "account"}, "2": {"verdict": "fatal"}},
    }
    two = {
        "codes": {"2": {"verdict": "fatal"}, "1": {"scope": "account", "verdict": "quota"}},
        "name": "x",
    }

    assert Policy.from_dict(one).version == Policy.from_dict(two).version


def test_version_is_the_same_in_another_process():
    """Records of two machines can be compared."""
    script = "from resilience import Policy; print(Policy.load('memories_ai').version)"
    seen = {
        subprocess.run([sys.executable, "-c", script], env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
                       capture_output=True, text=True, check=True).stdout.strip()
        for seed in ("1", "2")
    }  # fmt: skip

    assert {Policy.load("memories_ai").version} == seen


def test_policy_pickles():
    """It is a value, and travels to other processes."""
    policy = Policy.load("memos_cloud").with_codes({"50143": fatal()})
    copy = pickle.loads(pickle.dumps(policy))

    assert (policy.version, policy.source) == (copy.version, copy.source)
    assert copy.codes["50143"].verdict == Verdict.FATAL


def test_repr_names_version_and_source():
    """What a person needs in a log."""
    policy = Policy.load("http")

    assert f"<Policy {policy.version} from http.toml (catalog)>" == repr(policy)
