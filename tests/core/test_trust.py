"""What of a settings file that was found counts, and what needs its owner's word."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from ragkit.config import Settings, load_settings, read_sensitive
from ragkit.errors import ConfigError
from ragkit.trust import HARMLESS, HARMLESS_OPTIONS, record_trust, user_folder

LOCAL = "http://127.0.0.1:8080/v1"
needs_posix = pytest.mark.skipif(os.name == "nt", reason="owners and links of POSIX")


def load(text: str, **own: str) -> Settings:
    """Write `ragkit.toml` here and load it; `own` is the user's environment."""
    Path("ragkit.toml").write_text(text, encoding="utf-8")
    return load_settings(environment={f"RAGKIT_{name.upper()}": v for name, v in own.items()})


def held_back(text: str, **own: str) -> set[str]:
    """Return the names that the refusal of a file lists."""
    with pytest.raises(ConfigError, match="or run: ragkit trust ") as caught:
        load(text, **own)
    assert "\n" not in str(caught.value)
    return set(str(caught.value).split("your trust: ")[1].split(". Look")[0].split(", "))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('store = "opensearch:https://search.example.org/kb"', {"store"}),
        ('store = "kendra:0123"', {"store"}),
        ('store = "bedrock-kb:0123"', {"store"}),
        ('store = "somebodys:0123"', {"store"}),
        ('embedder = "openai:text-embedding-3-small"', {"embedder"}),
        ('embedder = "sentence-transformers:owner/name"', {"embedder"}),
        ('embedder = "bedrock:amazon.titan-embed-text-v2:0"', {"embedder"}),
        ('reranker = "bedrock:cohere.rerank-v3-5:0"', {"reranker"}),
        ('generator = "openai:gpt"', {"generator"}),
        ('generator = "transformers:owner/name"', {"generator"}),
        ('generator = "llamacpp:model.gguf"', {"generator"}),
        ('generator = "sagemaker:endpoint"', {"generator"}),
        ('generator = "Extractive"', {"generator"}),
        ('generator = "ollama:gpt-oss:120b-cloud"', {"generator"}),
        ('embedder = "ollama:e:cloud"', {"embedder"}),
        ('base_url = "https://example.org/v1"', {"base_url"}),
        ('api_key_env = "AWS_SECRET_ACCESS_KEY"', {"api_key_env"}),
        (
            f'[generator]\ntype = "openai"\nmodel = "m"\nbase_url = "{LOCAL}"\napi_key_env = "K"',
            {"generator", "base_url", "api_key_env"},
        ),
        (
            f'[generator]\ntype = "ollama"\nmodel = "m"\nbase_url = "{LOCAL}"\nnews = 1',
            {"generator.news"},
        ),
        (
            f'[generator_options]\nbase_url = "{LOCAL}"\napi_key_env = "K"',
            {"generator.base_url", "generator.api_key_env"},
        ),
        (
            '[generator]\ntype = "transformers"\nmodel = "./m"\nadapter = "owner/name"',
            {"generator", "generator.adapter"},
        ),
        (
            f'[embedder]\ntype = "bedrock"\nmodel = "m"\nbase_url = "{LOCAL}"\nregion = "r"',
            {"embedder", "embedder.base_url", "embedder.region"},
        ),
        (
            '[store]\ntype = "opensearch"\nname = "http://127.0.0.1:9200/kb"\nusername_env = "U"\n'
            'password_env = "P"',
            {"store", "store.username_env", "store.password_env"},
        ),
        (
            '[store]\ntype = "opensearch"\nname = "http://127.0.0.1:9200/kb"\nca_certs = "ca.pem"',
            {"store.ca_certs"},
        ),
        ('[reranker]\ntype = "bedrock"\nmodel = "m"', {"reranker"}),
    ],
)
def test_what_reaches_the_network_or_names_a_variable_needs_trust(
    text: str, names: set[str]
) -> None:
    """Strings, tables and options alike; what is not known to be harmless is held back."""
    assert held_back(text) == names
    named = Path("named.toml")
    named.write_text(text, encoding="utf-8")
    assert load_settings(file=named) == load_settings(environment={"RAGKIT_CONFIG": "named.toml"})


@pytest.mark.parametrize(
    "address",
    [
        "http://localhost.evil.example/v1",
        "http://127.0.0.1.evil.example/v1",
        "http://localhost@evil.example/v1",
        "http://127.0.0.1:80@evil.example/v1",
        "http://127.0.0.1\\\\@evil.example/v1",
        "http://127.0.0.1\\t@evil.example/v1",
        "http://127.0.0.1\\n.evil.example/v1",
        "http://127.0.0.1:8080/v1\\n",
        "http://127.0.0.1%2eevil.example/v1",
        "http://127.0.0.1:8080/v1?next=http://evil.example",
        "http://127.0.0.1#@evil.example/",
        "http://localho\u017ft/v1",
        "http://\uff11\uff12\uff17.0.0.1/v1",
        "http://localhost\u3002evil.example/v1",
        "http://l\u043ecalhost/v1",
        "http://127.1/v1",
        "http://127.0.0.2/v1",
        "http://0.0.0.0/v1",
        "http://2130706433/v1",
        "http://[::1%eth0]/v1",
        "http://[::ffff:1.2.3.4]/v1",
        "http://[::1].evil.example/v1",
        "//localhost/v1",
        "file:///etc/passwd",
        "",
    ],
)
def test_what_only_looks_like_this_machine_needs_trust(address: str) -> None:
    """An address counts as local in its plain spellings only."""
    text = f'[generator]\ntype = "openai"\nmodel = "m"\nbase_url = "{address}"\n'
    assert held_back(text) == {"generator", "base_url"}
    assert "store" in held_back(f'store = "opensearch:{address}"')


@pytest.mark.parametrize(
    "address", [LOCAL, "http://localhost", "https://localhost:8443/v1", "http://[::1]:8080/v1"]
)
def test_this_machine_needs_no_trust_and_gets_no_key(address: str) -> None:
    """A local server works at once; not even the variable that a connector reads unasked is."""
    text = f'[generator]\ntype = "openai"\nmodel = "m"\nbase_url = "{address}"\n'
    settings = load(text)
    assert (settings.generator, settings.base_url) == ("openai:m", address)
    assert settings.generator_options["api_key_env"] == ""
    settings = load(f'[embedder]\ntype = "openai"\nmodel = "e"\nbase_url = "{address}"\n')
    assert settings.embedder_options == {"base_url": address, "api_key_env": ""}
    settings = load(f'[store]\ntype = "opensearch"\nname = "{address}/kb"\nhybrid = "client"\n')
    assert settings.store_options == {"hybrid": "client", "username_env": ""}


def test_the_settings_that_the_pages_show() -> None:
    """A server on this machine works as the page on local models says; the others are held back."""
    page = (Path(__file__).parents[2] / "docs" / "local-llms.md").read_text("utf-8")
    blocks = [part.split("```")[0] for part in page.split("```toml\n")[1:]]
    for block in blocks:
        if '"openai"' in block or '"ollama"' in block:
            assert load(block).generator.startswith(("openai:Q", "ollama:q"))
        else:
            assert "generator" in held_back(block)
    assert len(blocks) == 4


def test_ollama_on_this_machine_needs_no_trust() -> None:
    """Its address is this machine's unless another is named."""
    assert load('generator = "ollama:m"\nembedder = "ollama:e"').generator == "ollama:m"


@pytest.mark.parametrize(
    ("text", "own", "names"),
    [
        (f'base_url = "{LOCAL}"', {"api_key_env": "K", "generator": "openai:m"}, {"base_url"}),
        (f'base_url = "{LOCAL}"', {"generator_options": '{"api_key_env": "K"}'}, {"base_url"}),
        (f'base_url = "{LOCAL}"', {"generator": "bedrock:m"}, {"base_url"}),
        ('base_url = "https://h/v1"', {"api_key_env": "K"}, {"base_url"}),
        ('api_key_env = "K"', {"base_url": "https://h/v1"}, {"api_key_env"}),
        ('generator = "openai:m"', {"base_url": "https://h/v1"}, {"generator"}),
        (
            'store = "opensearch:http://localhost/kb"',
            {"store_options": '{"password_env": "P"}'},
            {"store"},
        ),
        (
            '[store]\ntype = "opensearch"\nname = "http://localhost/kb"\npassword_env = "P"',
            {"store": "opensearch:https://h/kb"},
            {"store.password_env"},
        ),
        (
            f'[embedder]\ntype = "openai"\nmodel = "m"\nbase_url = "{LOCAL}"',
            {"embedder": "bedrock:m"},
            {"embedder.base_url"},
        ),
    ],
)
def test_a_file_does_not_join_with_the_users_own(
    text: str, own: Mapping[str, str], names: set[str]
) -> None:
    """A stranger's address does not get a key that the user named, nor the other way round."""
    assert held_back(text, **own) == names


def test_what_the_user_sets_otherwise_needs_no_trust() -> None:
    """Where flags and environment give all held-back settings a value, theirs count."""
    text = 'base_url = "https://h/v1"\nledger = "/etc/x"\nk = 3\n[embedder]\ntype = "a"\nb = 1\n'
    own = {"base_url": "https://mine/v1", "ledger": "off", "embedder": "none"}
    assert held_back(text, **own) == {"embedder.b"}
    settings = load(text, embedder_options="{}", **own)
    assert (settings.base_url, settings.k, settings.embedder) == ("https://mine/v1", 3, "none")
    assert load_settings(flags={**own, "embedder_options": {"batch_size": 2}}).embedder_options == {
        "batch_size": 2
    }


def test_harmless_settings_count() -> None:
    """The numbers of a pipeline, and paths in the folder."""
    settings = load(
        'store = "./data/kb"\ntrim = "trim.json"\ntemplate = "guarded"\nledger = "ledger.jsonl"\n'
        'chunk_tokens = 80\nmode = "lexical"\nembedder = "none"\nstop = ["x"]\n'
        "[generator]\ntype = 'extractive'\nmax_tokens = 9\ntimeout = 3\ncontext_window = 99\n"
    )
    assert (settings.store, settings.chunk_tokens, settings.max_tokens) == ("./data/kb", 80, 9)
    assert load("ledger = 'off'\ntrim = 'off'").ledger == "off"


@pytest.mark.parametrize("setting", ["store", "trim", "template", "ledger"])
@pytest.mark.parametrize(
    "value", ["/etc/x", "../x", "a/../../x", "~/x", "//host/share", ".git/config", "/dev/zero"]
)
def test_paths_that_leave_the_folder_need_trust(setting: str, value: str) -> None:
    """So do hidden files, which other programs obey, and devices."""
    assert held_back(f'{setting} = "{value}"') == {setting}


@needs_posix
def test_links_that_leave_the_folder_need_trust(tmp_path: Path) -> None:
    """A path is judged by where it leads, a store by what lies in it too."""
    outside = tmp_path.with_name("outside")
    outside.mkdir()
    Path("link").symlink_to(outside)
    Path("loop").symlink_to("loop")
    Path("inner").mkdir()
    Path("fine").symlink_to("inner")
    for value in ("link", "link/new", "loop"):
        assert held_back(f'store = "{value}"') == {"store"}
        assert held_back(f'ledger = "{value}"') == {"ledger"}
    assert load('store = "fine"').store == "fine"
    Path("inner/ledger.jsonl").symlink_to(outside / ".profile")
    assert held_back('store = "fine"') == {"store"}
    os.mkfifo("pipe")
    assert held_back('template = "pipe"') == {"template"}


def test_trust_holds_for_these_keys_in_this_place(tmp_path: Path) -> None:
    """Other keys may change; a change of these, and the same file elsewhere, need trust anew."""
    text = 'base_url = "https://h/v1"\nledger = "../l.jsonl"\n'
    file = Path("ragkit.toml")
    assert held_back(text) == {"base_url", "ledger"}
    record_trust(file, read_sensitive(file))
    assert load(text).base_url == "https://h/v1"
    assert load(f"{text}k = 3\n").k == 3
    assert load(text, api_key_env="K").api_key_env == "K"
    held_back(text.replace("https://h", "https://g"))
    held_back(f'{text}api_key_env = "K"\n')
    other = tmp_path / "other"
    other.mkdir()
    os.chdir(other)
    held_back(text)


@needs_posix
def test_trust_ends_when_a_path_leads_elsewhere(tmp_path: Path) -> None:
    """The same text behind another link is not what was trusted."""
    file, link = Path("ragkit.toml"), Path("link")
    link.symlink_to(tmp_path.with_name("first"))
    held_back('store = "link"')
    record_trust(file, read_sensitive(file))
    assert load('store = "link"').store == "link"
    link.unlink()
    link.symlink_to(tmp_path.with_name("second"))
    held_back('store = "link"')


def test_the_users_own_file_counts_below_the_folders() -> None:
    """All of it counts; a file that is named takes the place of both."""
    folder = user_folder()
    assert folder is not None
    folder.mkdir(parents=True)
    (folder / "ragkit.toml").write_text('base_url = "https://mine/v1"\nk = 3\nseed = 1\n')
    settings = load("k = 4\n", seed="2")
    assert (settings.base_url, settings.k, settings.seed) == ("https://mine/v1", 4, 2)
    Path("empty.toml").write_text("")
    assert load_settings(file=Path("empty.toml")) == Settings()


def test_the_users_own_file_lends_a_stranger_nothing() -> None:
    """An address of the folder's file does not get the key of the user's own file."""
    folder = user_folder()
    assert folder is not None
    folder.mkdir(parents=True)
    (folder / "ragkit.toml").write_text('generator = "openai:m"\napi_key_env = "K"\n')
    assert held_back(f'base_url = "{LOCAL}"') == {"base_url"}
    (folder / "ragkit.toml").write_text('base_url = "https://mine/v1"\n')
    assert held_back('generator = "ollama:m"') == {"generator"}


@needs_posix
def test_what_others_can_write_is_not_the_users_own() -> None:
    """A folder, a settings file and a record that everybody may write are refused by name."""
    file, folder = Path("ragkit.toml"), user_folder()
    assert folder is not None
    held_back('base_url = "https://h/v1"')
    record_trust(file, read_sensitive(file))
    record = next((folder / "trusted").iterdir())
    assert record.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    for place in (record, record.parent, folder):
        mode = place.stat().st_mode
        place.chmod(0o777)
        with pytest.raises(ConfigError, match="written by everybody"):
            load_settings()
        place.chmod(mode)
    assert load_settings().base_url == "https://h/v1"
    (folder / "ragkit.toml").write_text("k = 3\n")
    (folder / "ragkit.toml").chmod(0o666)
    with pytest.raises(ConfigError, match="written by everybody"):
        load_settings()


@pytest.mark.parametrize("home", ["/nonexistent", ".", ""])
def test_without_a_home_nothing_is_trusted(monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    """A home that is not there, or is relative and so a stranger's, is none."""
    monkeypatch.setenv("XDG_CONFIG_HOME", "config")
    monkeypatch.setenv("HOME", home)
    assert home == "" or user_folder() is None
    held_back('base_url = "https://h/v1"')
    if home:
        with pytest.raises(ConfigError, match="--config FILE, or RAGKIT_CONFIG=FILE"):
            record_trust(Path("ragkit.toml"), read_sensitive(Path("ragkit.toml")))
    assert load_settings(file=Path("ragkit.toml")).base_url == "https://h/v1"


def test_a_settings_file_that_is_none_is_named() -> None:
    """A folder, a link to a device, and brackets without end."""
    Path("ragkit.toml").mkdir()
    with pytest.raises(ConfigError, match="no file"):
        load_settings()
    Path("deep.toml").write_text("k = " + "[" * 100_000)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(file=Path("deep.toml"))


def test_what_is_harmless_is_documented() -> None:
    """The page lists every setting and option that counts without trust."""
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text("utf-8")
    listed = page.split("## Settings and trust")[1].split("Everything else")[0]
    for name in {*HARMLESS, *(option for names in HARMLESS_OPTIONS.values() for option in names)}:
        assert f"`{name}`" in listed
