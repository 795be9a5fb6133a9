"""Settings: argument over environment over config.toml over default, each with its origin; and editing the file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ryla_gen.errors import InvalidInputError, RylaGenError, StorageFailedError
from ryla_gen.settings import Settings, home_folder, set_value, unset_value
from ryla_gen.settings.base import KEYS
from ryla_gen.settings.edit import with_value, without_value

CONTRACT_FILE = """\
backend = "modal"            # or a list
output_dir = "~/Pictures/ryla"
max_usd = 0.50               # per call
max_usd_per_day = 20.0

[modal]
app = "ryla-comfyui"
environment = "main"
timeout = 180.0

[modal.families.flux]
gpu = ["L40S", "H100"]
min_containers = 0
max_containers = 10
scaledown_window = 300

[comfyui]
url = "http://127.0.0.1:8188"
hourly_usd = 0.0

[runpod]
endpoint_id = "abc123"
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "settings"
    folder.mkdir()
    return folder


def load(home: Path, config: str | None = None, env: dict[str, str] | None = None, **arguments: object) -> Settings:
    if config is not None:
        (home / "config.toml").write_text(config, encoding="utf-8")
    return Settings.load({"RYLA_GEN_HOME": str(home), **(env or {})}, **arguments)


def test_the_file_of_the_contract_is_read_whole(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    settings = load(home, CONTRACT_FILE)
    assert settings.backend_names == ("modal",)
    assert settings.output_dir == Path("/home/someone/Pictures/ryla")
    assert (settings.max_usd, settings.max_usd_per_day) == (0.5, 20.0)
    assert (settings.modal_app, settings.modal_environment, settings.modal_timeout) == ("ryla-comfyui", "main", 180.0)
    flux = settings.modal_families["flux"]
    assert (flux.gpu, flux.min_containers, flux.max_containers, flux.scaledown_window) == (("L40S", "H100"), 0, 10, 300)
    assert settings.modal_families["video"].gpu is None
    assert (settings.comfyui_url, settings.comfyui_hourly_usd, settings.runpod_endpoint_id) == (
        "http://127.0.0.1:8188",
        0.0,
        "abc123",
    )
    assert {settings.origin(key) for key, _, origin in settings.entries() if origin != "default"} == {"config.toml"}


def test_the_contract_s_page_shows_every_key_and_what_it_shows_is_accepted(home: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "contract.md").read_text(encoding="utf-8")
    text = page.partition("```toml\n")[2].partition("```")[0]
    load(home, text)
    words = set(re.findall(r"\w+", text))
    assert [name for name in KEYS if not name.startswith("modal.families.") and name.rpartition(".")[2] not in words] == []
    assert {name.rpartition(".")[2] for name in KEYS if name.startswith("modal.families.")} <= words


def test_without_anything_the_defaults_hold(home: Path) -> None:
    settings = load(home)
    assert settings.backend_names == ("emulator",)
    assert (settings.output_dir, settings.max_usd, settings.comfyui_url, settings.modal_timeout) == (Path(), None, None, 180.0)
    assert {origin for _, _, origin in settings.entries()} == {"default"}
    assert settings.config_path == home / "config.toml"
    assert settings.history_path == home / "history.sqlite3"


def test_an_argument_beats_the_environment_which_beats_the_file_which_beats_the_default(home: Path) -> None:
    config, env = "max_usd = 1.0", {"RYLA_GEN_MAX_USD": "2"}
    seen = [load(home), load(home, config), load(home, config, env), load(home, config, env, max_usd=3)]
    assert [settings.max_usd for settings in seen] == [None, 1.0, 2.0, 3.0]
    assert [settings.origin("max_usd") for settings in seen] == [
        "default",
        "config.toml",
        "environment RYLA_GEN_MAX_USD",
        "argument",
    ]
    assert load(home, config, env, max_usd=None).max_usd == 2.0


@pytest.mark.parametrize(
    ("variable", "text", "key", "value"),
    [
        ("RYLA_GEN_BACKEND", "modal, emulator", "backend", ("modal", "emulator")),
        ("RYLA_GEN_OUTPUT_DIR", "/tmp/7", "output_dir", Path("/tmp/7")),
        ("RYLA_GEN_OUTPUT_DIR", "2024", "output_dir", Path("2024")),
        ("RYLA_GEN_MAX_USD", " 0.25 ", "max_usd", 0.25),
        ("RYLA_GEN_MAX_USD_PER_DAY", "0", "max_usd_per_day", 0.0),
        ("RYLA_GEN_MODAL_APP", "12", "modal.app", "12"),
        ("RYLA_GEN_MODAL_TIMEOUT", "60", "modal.timeout", 60.0),
        ("RYLA_GEN_QUEUE_TIMEOUT", "60", "queue_timeout", 60.0),
        ("MODAL_TIMEOUT", "90000", "modal.timeout", 90.0),
        ("MODAL_ENVIRONMENT", "dev", "modal.environment", "dev"),
        ("RYLA_GEN_MODAL_FAMILIES_FLUX_GPU", "H100,L40S", "modal.families.flux.gpu", ("H100", "L40S")),
        ("RYLA_GEN_MODAL_FAMILIES_VIDEO_MAX_CONTAINERS", "3", "modal.families.video.max_containers", 3),
        ("RYLA_GEN_MODAL_REGION", "eu, uk", "modal.region", ("eu", "uk")),
        ("RYLA_DEPLOY_REGION", "us-east", "modal.region", ("us-east",)),
        ("RYLA_GEN_MODAL_PRELOAD", "true", "modal.preload", True),
        ("RYLA_PRELOAD", "1", "modal.preload", True),
        ("COMFYUI_POD_URL", "https://pod.example.com:8188/", "comfyui.url", "https://pod.example.com:8188"),
        ("RYLA_GEN_COMFYUI_HOURLY_USD", "0.89", "comfyui.hourly_usd", 0.89),
        ("RUNPOD_ENDPOINT_ID", "123", "runpod.endpoint_id", "123"),
    ],
)
def test_each_variable_sets_its_key(variable: str, text: str, key: str, value: object, home: Path) -> None:
    settings = load(home, env={variable: text})
    assert settings.value(key) == value
    assert settings.origin(key) == f"environment {variable}"


def test_our_own_variable_beats_the_older_one(home: Path) -> None:
    settings = load(home, env={"RYLA_GEN_MODAL_TIMEOUT": "10", "MODAL_TIMEOUT": "20000"})
    assert settings.modal_timeout == 10
    assert settings.origin("modal.timeout") == "environment RYLA_GEN_MODAL_TIMEOUT"


def test_a_blank_variable_is_not_set(home: Path) -> None:
    blank = dict.fromkeys(("RYLA_GEN_BACKEND", "RYLA_GEN_MAX_USD", "COMFYUI_POD_URL", "MODAL_WORKSPACE", "MODAL_TIMEOUT"), "  ")
    settings = load(home, env=blank)
    assert settings.backend_names == ("emulator",)
    assert {origin for _, _, origin in settings.entries()} == {"default"}


POD, MODAL = {"COMFYUI_POD_URL": "http://pod:8188"}, {"MODAL_WORKSPACE": "me"}
RUNPOD = {"RUNPOD_ENDPOINT_ID": "x", "RUNPOD_API_KEY": "SECRET"}


@pytest.mark.parametrize(
    ("env", "backend", "reason"),
    [
        ({}, "emulator", "no GPU backend is configured"),
        (POD, "comfyui", "COMFYUI_POD_URL"),
        (MODAL, "modal", "MODAL_WORKSPACE"),
        (RUNPOD, "runpod", "RUNPOD_API_KEY"),
        ({"RUNPOD_ENDPOINT_ID": "x"}, "emulator", "no GPU backend"),
        ({"RUNPOD_API_KEY": "x"}, "emulator", "no GPU backend"),
        (MODAL | RUNPOD, "modal", "MODAL_WORKSPACE"),
        (POD | MODAL | RUNPOD, "comfyui", "COMFYUI_POD_URL"),
        (POD | {"RYLA_GEN_BACKEND": "emulator"}, "emulator", "RYLA_GEN_BACKEND"),
    ],
)
def test_the_backend_is_chosen_by_what_is_configured(env: dict[str, str], backend: str, reason: str, home: Path) -> None:
    settings = load(home, env=env)
    assert settings.backend_names == (backend,)
    assert reason in settings.backend_reason
    assert (settings.origin("backend") == "default") == (not env or "no GPU" in reason)


def test_several_backends_keep_their_order_from_file_and_argument(home: Path) -> None:
    assert load(home, 'backend = ["modal", "emulator", "modal"]').backend_names == ("modal", "emulator")
    settings = load(home, backend=["comfyui", "modal"])
    assert settings.backend_names == ("comfyui", "modal")
    assert "the caller" in settings.backend_reason


def test_secrets_are_shown_nowhere(home: Path) -> None:
    settings = load(home, env=RUNPOD)
    assert settings.runpod_api_key == "SECRET"
    assert "SECRET" not in repr(settings) + str(list(settings.entries()))
    with pytest.raises(InvalidInputError, match="secret"):
        set_value("runpod.api_key", "x", {"RYLA_GEN_HOME": str(home)})


def test_settings_cannot_be_changed(home: Path) -> None:
    with pytest.raises(AttributeError):
        load(home).max_usd = 5.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("bakend = 'modal'", ["config.toml", "bakend", "did you mean backend", "ryla-gen config unset bakend"]),
        ("[modal]\ntimeuot = 5", ["modal.timeuot", "did you mean modal.timeout"]),
        ("[modal.families.fluxx]\ngpu = 'L40S'", ["modal.families.fluxx.gpu", "modal.families.flux.gpu"]),
        ("[runpod]\napi_key = 'x'", ["secret", "RUNPOD_API_KEY", "ryla-gen config unset runpod.api_key"]),
        ("max_usd = '0.5'", ["max_usd", "a number", "config.toml", "ryla-gen config set max_usd"]),
        ("max_usd = true", ["max_usd", "a number"]),
        ("max_usd = -1", ["at least 0"]),
        ("max_usd = nan", ["a number"]),
        ("max_usd = inf", ["a number"]),
        ("[modal]\ntimeout = 0", ["at least 0.001"]),
        ("[modal]\ntimeout = 100000", ["at most 86400"]),
        ("[modal]\napp = 5", ["modal.app", "a text"]),
        ("modal = 5", ["modal"]),
        ("max_usd = {a = 1}", ["max_usd"]),
        ("output_dir = 5", ["folder"]),
        ("backend = []", ["a list of texts"]),
        ("backend = [1]", ["a text"]),
        ("[comfyui]\nurl = 'localhost:8188'", ["comfyui.url", "http://127.0.0.1:8188"]),
        ("[comfyui]\nurl = 'http://x:99999'", ["comfyui.url"]),
        ("[modal.families.flux]\nmin_containers = 1.5", ["whole number"]),
        ("[modal.families.flux]\nmax_containers = 0", ["at least 1"]),
        ("[modal.families.flux]\nscaledown_window = 1", ["at least 2 and at most 3600"]),
        ("[modal.families.flux]\nscaledown_window = 3601", ["at least 2 and at most 3600"]),
        ("[modal]\nregion = []", ["modal.region", "a list of texts"]),
        ("[modal]\npreload = 'soon'", ["modal.preload", "true or false"]),
        ("max_usd = \n", ["not valid TOML", "line 1", "config.toml"]),
        ("a = 1\na = 2", ["not valid TOML"]),
    ],
)
def test_a_file_that_does_not_fit_is_explained(config: str, words: list[str], home: Path) -> None:
    with pytest.raises(InvalidInputError) as caught:
        load(home, config)
    for word in words:
        assert word in str(caught.value)


def test_unknown_backends_and_arguments_are_refused_with_the_nearest_name(home: Path) -> None:
    for settings in ({"config": "backend = 'modul'"}, {"env": {"RYLA_GEN_BACKEND": "modul"}}, {"backend": "modul"}):
        with pytest.raises(InvalidInputError, match="did you mean modal"):
            load(home, **settings)  # type: ignore[arg-type]
    (home / "config.toml").unlink()
    with pytest.raises(InvalidInputError, match="did you mean comfyui_url"):
        load(home, comfy_url="http://x")


def test_a_wrong_variable_is_named_and_an_unknown_one_is_a_warning(home: Path) -> None:
    with pytest.raises(InvalidInputError, match="environment RYLA_GEN_MAX_USD"):
        load(home, env={"RYLA_GEN_MAX_USD": "1,5"})
    with pytest.raises(InvalidInputError, match="environment MODAL_TIMEOUT"):
        load(home, env={"MODAL_TIMEOUT": "soon"})
    warnings = load(home, env={"RYLA_GEN_BAKEND": "modal"}).warnings
    assert warnings == ("The variable RYLA_GEN_BAKEND is not a setting; did you mean RYLA_GEN_BACKEND?",)


def test_a_file_that_cannot_be_read_is_explained(home: Path) -> None:
    path = home / "config.toml"
    for data, words in ((b"max_usd = 1 # \xff", "UTF-8"), (b"#" * (1 << 21), "too large")):
        path.write_bytes(data)
        with pytest.raises(InvalidInputError, match=words):
            load(home)
    path.write_bytes(b"\xef\xbb\xbfmax_usd = 1\r\n")
    assert load(home).max_usd == 1
    path.unlink()
    path.mkdir()
    with pytest.raises(InvalidInputError, match="cannot be read"):
        load(home)


def test_the_home_folder_is_the_platforms_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert home_folder({"RYLA_GEN_HOME": "/x", "HOME": "/h"}) == Path("/x")
    if sys.platform == "linux":
        assert home_folder({"HOME": "/h"}) == Path("/h/.config/ryla-gen")
        assert home_folder({"HOME": "/h", "XDG_CONFIG_HOME": "/c"}) == Path("/c/ryla-gen")
        assert home_folder({"HOME": "/h", "XDG_CONFIG_HOME": "relative"}) == Path("/h/.config/ryla-gen")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert home_folder({"HOME": "/h"}) == Path("/h/Library/Application Support/ryla-gen")
    monkeypatch.setattr(sys, "platform", "win32")
    assert home_folder({"HOME": "/h", "APPDATA": "/roaming"}) == Path("/roaming/ryla-gen")


def test_importing_settings_reads_no_toml_library_when_there_is_no_file(tmp_path: Path) -> None:
    script = "import sys\nfrom ryla_gen.settings import Settings\nSettings.load()\n"
    script += "print({'tomllib', 'tomlkit', 'pydantic', 'asyncio'} & set(sys.modules))"
    env = {**os.environ, "RYLA_GEN_HOME": str(tmp_path)}
    assert (
        subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True).stdout.strip()
        == "set()"
    )


# -- editing the file -------------------------------------------------------------------------------------------------


def test_a_value_is_set_and_comments_and_order_stay(home: Path) -> None:
    env = {"RYLA_GEN_HOME": str(home)}
    path = home / "config.toml"
    path.write_text(CONTRACT_FILE)
    for key, text in (
        ("max_usd", "1.25"),
        ("modal.timeout", "60"),
        ("comfyui.url", "http://pod:1"),
        ("modal.families.flux.gpu", "A10G"),
    ):
        assert set_value(key, text, env) == path
    expected = (
        CONTRACT_FILE.replace("max_usd = 0.50   ", "max_usd = 1.25   ").replace("180.0", "60").replace("127.0.0.1:8188", "pod:1")
    )
    assert path.read_text() == expected.replace('["L40S", "H100"]', '"A10G"').replace("timeout = 60", "timeout = 60.0")
    settings = load(home)
    assert (settings.max_usd, settings.modal_timeout, settings.modal_families["flux"].gpu) == (1.25, 60.0, ("A10G",))


def test_values_are_put_into_their_tables_or_into_new_ones(home: Path) -> None:
    env = {"RYLA_GEN_HOME": str(home / "new")}
    for key, text in (
        ("modal.timeout", "60"),
        ("backend", "modal,emulator"),
        ("comfyui.hourly_usd", "0.5"),
        ("modal.app", "mine"),
        ("output_dir", "~/p"),
    ):
        set_value(key, text, env)
    top, modal = 'backend = ["modal", "emulator"]\noutput_dir = "~/p"\n', '[modal]\ntimeout = 60.0\napp = "mine"\n'
    assert (home / "new" / "config.toml").read_text() == f"{top}\n{modal}\n[comfyui]\nhourly_usd = 0.5\n"
    assert load(home / "new").backend_names == ("modal", "emulator")


def test_a_value_is_taken_out(home: Path) -> None:
    path = home / "config.toml"
    path.write_text(
        "# mine\nmax_usd = [\n 1, # one\n]\n[modal]\napp = 'x' # the app\ntimeout = 5\n".replace("[\n 1, # one\n]", "1")
    )
    unset_value("modal.app", {"RYLA_GEN_HOME": str(home)})
    unset_value("comfyui.url", {"RYLA_GEN_HOME": str(home)})
    assert path.read_text() == "# mine\nmax_usd = 1\n[modal]\ntimeout = 5\n"


def test_what_does_not_fit_is_not_written(home: Path) -> None:
    env = {"RYLA_GEN_HOME": str(home)}
    for key, text in (("max_usd", "much"), ("backend", "modul"), ("colour", "red"), ("comfyui.url", "pod"), ("max_usd", "")):
        with pytest.raises(RylaGenError):
            set_value(key, text, env)
    assert list(home.iterdir()) == []


def test_a_link_to_the_file_stays_a_link_and_its_permissions_stay(home: Path, tmp_path: Path) -> None:
    target = tmp_path / "dotfiles.toml"
    target.write_text("max_usd = 1\n")
    target.chmod(0o640)
    (home / "config.toml").symlink_to(target)
    set_value("max_usd", "2", {"RYLA_GEN_HOME": str(home)})
    assert (home / "config.toml").is_symlink()
    assert target.read_text() == "max_usd = 2.0\n"
    assert target.stat().st_mode & 0o777 == 0o640


def test_a_folder_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFailedError):
        set_value("max_usd", "1", {"RYLA_GEN_HOME": str(tmp_path / "file" / "deeper")})


ODD = '''# a comment with max_usd = 5
"max_usd" = 1 # why # twice
text = """
[modal]
timeout = 1
"""
list = [
  "a", # first
  "]",
] # end
inline = { a = 1, b = "#" }
dotted.key = 'x # not a comment' # a comment

[ modal ] # the app
timeout = 5
[[array]]
timeout = 6
[modal.families.flux]
gpu = ["a",
  "b"]
'''


@given(
    name=st.sampled_from(
        ["max_usd", "modal.timeout", "dotted.key", "new", "modal.app", "modal.families.flux.gpu", "a.b.c", "list", "text"]
    ),
    value=st.one_of(
        st.floats(allow_nan=False, allow_infinity=False),
        st.integers(-(2**63), 2**63 - 1),
        st.text(),
        st.lists(st.text()).map(tuple),
    ),
)
def test_any_value_set_in_an_odd_file_is_the_only_change(name: str, value: object) -> None:
    new = with_value(ODD, name, value)
    held = tomllib.loads(new)
    place = held
    *tables, leaf = name.split(".")
    for table in tables:
        place = place[table]
    assert place[leaf] == (list(value) if isinstance(value, tuple) else value)
    back = tomllib.loads(without_value(new, name))
    assert "why # twice" in new or name == "max_usd"
    assert back["array"] == [{"timeout": 6}]
    assert new.count("#") - str(value).count("#") >= ODD.count("#") - 3


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("modal = { timeout = 1, app = 'x' } # mine\n", "modal = { timeout = 5, app = 'x' } # mine\n"),
        ("modal.app = 'x' # mine\r\nmodal.timeout = 1 # why\r\n", "modal.app = 'x' # mine\r\nmodal.timeout = 5 # why\r\n"),
        ("[modal.families.flux]\n[modal] # mine\ntimeout = 1\n", "[modal.families.flux]\n[modal] # mine\ntimeout = 5\n"),
    ],
    ids=["inline", "dotted", "out of order"],
)
def test_a_value_is_set_however_its_table_is_written(text: str, new: str) -> None:
    assert with_value(text, "modal.timeout", 5) == new


def test_the_last_value_of_a_table_and_a_quoted_name_are_taken_out() -> None:
    assert without_value("max_usd = 1\nmodal.app = 'x' # the app\n", "modal.app") == "max_usd = 1\n"
    assert without_value('max_usd = 1\n"modal.timeout" = 5\n', "modal.timeout") == "max_usd = 1\n"


@pytest.mark.parametrize("text", ["modal = 7\n", "[[modal]]\ntimeout = 1\n", "modal = 'x' # mine\n"])
def test_what_cannot_hold_the_key_stays_and_says_what_to_write(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        with_value(text, "modal.timeout", 5)
    assert caught.value.hint == "Edit it by hand: modal.timeout = 5"


@pytest.mark.parametrize(
    "text",
    [
        f"max_usd = {'9' * 5000}",
        f"max_usd = {'9' * 400}",
        f"modal.timeout = {'[' * 20_000}",
        "modal.region = " + "[" * 900 + "]" * 900,
        f"backend = {'{a=' * 3000}",
        "max_usd = nan",
        "max_usd = inf",
        "max_usd = 1e999",
        "notebook = [[]]",
        "output_dir = 1979-05-27",
        "modal = 7",
        "modal.families = []",
        "backend = [1, 2]",
        "references = {}",
    ],
)
def test_absurd_values_are_told_and_never_a_traceback(home: Path, text: str) -> None:
    with pytest.raises(InvalidInputError):
        load(home, text)


@pytest.mark.parametrize("value", ["9" * 400, "9" * 5000, "1e400", "nan", "-inf", "~\ud800", "[" * 5000])
def test_nor_of_the_environment(value: str, home: Path) -> None:
    for name in ("MODAL_TIMEOUT", "RYLA_GEN_MODAL_TIMEOUT", "RYLA_GEN_MAX_USD", "RYLA_GEN_MODAL_FAMILIES_FLUX_MIN_CONTAINERS"):
        with pytest.raises(InvalidInputError):
            Settings.load({"RYLA_GEN_HOME": str(home), name: value})
