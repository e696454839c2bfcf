from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.fields import fields
from proxy.config.load import Config, ConfigError, at_rest, effective, load, oddities
from proxy.config.tree import Value
from proxy.state.keys import KeyStore, load_pepper

CANARY = "sk-canary-0123456789abcdef"
EXAMPLE = Path(__file__).parents[3] / "headgate.example.yaml"
GOOD = """\
providers:
  sim: {kind: simulated}
  gpu: {kind: openai, engine: vllm, base_url: "http://10.0.0.11:8000/v1", api_key: "${KEY:-}"}
models:
  small: sim/small
  qwen:
    targets:
      - {provider: gpu, model: 3.10}
      - {provider: gpu, model: qwen3-8b, weight: 2}
"""


def file_of(folder: Path, text: str) -> Path:
    file = folder / "headgate.yaml"
    file.write_text(text)
    return file


def refusal(folder: Path, text: str, environment: dict[str, str] | None = None) -> list[str]:
    """The messages, as they would be for a file in the present folder."""
    file = file_of(folder, text)
    with pytest.raises(ConfigError) as refused:
        load(file, environment or {})
    return [message.replace(f"{folder}/", "") for message in refused.value.messages]


def test_a_good_file_is_read(tmp_path: Path) -> None:
    config = load(file_of(tmp_path, GOOD), {})
    assert isinstance(config, Config)
    assert config.source == tmp_path / "headgate.yaml"
    assert [target.model for target in config.models["qwen"].targets] == ["3.10", "qwen3-8b"]
    assert [(target.provider, target.model) for target in config.models["small"].targets] == [("sim", "small")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("servr: {}", "headgate.yaml:10 servr: unknown key; did you mean 'server'?"),
        ("server: {prot: 1}", "headgate.yaml:10 server.prot: unknown key; did you mean 'port'?"),
        ("server: {port: '80'}", "headgate.yaml:10 server.port: Input should be a valid integer"),
        ("server: {port: 8080.0}", "headgate.yaml:10 server.port: Input should be a valid integer"),
        ("server: {port: yes}", "headgate.yaml:10 server.port: Input should be a valid integer"),
        ("server: {port: true}", "headgate.yaml:10 server.port: Input should be a valid integer"),
        ("server: {port: 70000}", "headgate.yaml:10 server.port: Input should be less than or equal to 65535"),
        ("server: []", "headgate.yaml:10 server: Input should be a mapping"),
        ("keys: {}", "headgate.yaml:10 keys: Input should be a list"),
        ("keys: [{agent: a}]", "headgate.yaml:10 keys.0.key: is required"),
        ("models: {}", "headgate.yaml:10 models: this key is here twice; first at line 4"),
        ("defaults: {deadline_s: 10m}", "headgate.yaml:10 defaults.deadline_s: Input should be a valid number"),
        ("defaults: {deadline_s: 0}", "headgate.yaml:10 defaults.deadline_s: Input should be greater than 0"),
        ("defaults: {breaker: {}}", "headgate.yaml:10 defaults.breaker: not available in this version"),
        (
            "agents: {a: {models: [smal]}}",
            "headgate.yaml:10 agents.a.models.0: there is no model 'smal'; did you mean 'small'?",
        ),
        (
            "agents: {a b: {}}",
            "headgate.yaml:10 agents.'a b': a name has up to 64 letters, digits, dots, dashes and underscores",
        ),
        (
            "defaults: {content: some}",
            "headgate.yaml:10 defaults.content: Input should be 'off', 'digest', 'redacted' or 'full'",
        ),
        ("admin: {token: ${GONE}}", "headgate.yaml:10 admin.token: the environment has no GONE; set it, or write "
         "${GONE:-default}"),
        ("admin: {host: 0.0.0.0}", "headgate.yaml:10 admin.host: an address beyond loopback needs `admin.token`"),
        ("server: {host: 0.0.0.0}", "headgate.yaml:10 server.host: an address beyond loopback needs keys: add one "
         "under `keys` or with `headgate keys create`"),
        ("keys: [{key: a}, {key: a}]", "headgate.yaml:10 keys.1.key: the same key as keys.0"),
        ("a: *b", "headgate.yaml:10 aliases are not read; write the value out"),
        ("pricing: {overrides: {sim/small: {input_usd_per_mtok: 1}}}",
         "headgate.yaml:10 pricing.overrides.sim/small.output_usd_per_mtok: is required"),
        ("pricing: {overrides: {sim/small: {input_usd_per_mtok: -1, output_usd_per_mtok: 1}}}",
         "headgate.yaml:10 pricing.overrides.sim/small.input_usd_per_mtok: Input should be an amount in USD, such as "
         "2.50"),
    ],
)  # fmt: skip
def test_each_mistake_is_named_with_file_line_path_and_remedy(tmp_path: Path, line: str, message: str) -> None:
    assert refusal(tmp_path, GOOD + line + "\n") == [message]


@pytest.mark.parametrize(
    ("provider", "message"),
    [
        ("{kind: opnai}", "providers.x: kind should be openai or simulated"),
        ("{seed: 1}", "providers.x: kind is required: openai or simulated"),
        ("{kind: gemini, a: 1}", "providers.x.kind: kind 'gemini' is not available in this version"),
        ("{kind: simulated, sed: 1}", "providers.x.sed: unknown key; did you mean 'seed'?"),
        ("{kind: openai}", "providers.x: api_key is needed for https://api.openai.com/v1"),
        (
            "{kind: openai, engine: tgi}",
            "providers.x: base_url is needed: engine tgi has no address of its own",
        ),
        ("{kind: openai, api_key: k, headers: {Host: a}}", "providers.x.headers: the gate sets host itself"),
        ("3", "providers.x: Input should be a mapping"),
    ],
)
def test_a_providers_mistakes_are_told_without_the_readers_inner_names(
    tmp_path: Path, provider: str, message: str
) -> None:
    text = GOOD.replace("  sim:", f"  x: {provider}\n  sim:")
    assert refusal(tmp_path, text) == [f"headgate.yaml:2 {message}"]


def test_the_line_is_that_of_the_value_itself(tmp_path: Path) -> None:
    text = GOOD.replace("weight: 2}", "weight: two}")
    assert refusal(tmp_path, text) == ["headgate.yaml:9 models.qwen.targets.1.weight: Input should be a valid integer"]


def test_all_mistakes_of_a_file_are_told_at_once_in_the_order_of_its_lines(tmp_path: Path) -> None:
    text = GOOD.replace("sim/small", "sin/small") + "zzz: 1\nserver: {port: x}\nserver: {}\ndefaults: {breaker: {}}\n"
    told = refusal(tmp_path, text.replace("${KEY:-}", "${KEY}"))
    assert [message.split(":")[1].split(" ")[0] for message in told] == ["3", "5", "10", "11", "12", "13"]


def test_a_value_that_could_not_be_read_is_complained_about_once(tmp_path: Path) -> None:
    text = GOOD + "server: {port: ${PORT}}\n"
    assert refusal(tmp_path, text) == [
        "headgate.yaml:10 server.port: the environment has no PORT; set it, or write ${PORT:-default}"
    ]


def test_without_models_nothing_could_be_served(tmp_path: Path) -> None:
    assert refusal(tmp_path, "") == ["headgate.yaml models: no model is configured, so nothing could be served"]
    with pytest.raises(ConfigError, match="configuration models: no model is configured"):
        load(None, {})


def test_json_and_toml_of_the_same_shape_are_the_same_configuration(tmp_path: Path) -> None:
    json, toml = tmp_path / "c.json", tmp_path / "c.toml"
    json.write_text(
        '{"providers": {"sim": {"kind": "simulated", "stall_share": 0.5}},\n "models": {"small": "sim/small"}}'
    )
    toml.write_text('models.small = "sim/small"\n[providers.sim]\nkind = "simulated"\nstall_share = 0.5\n')
    yaml = file_of(tmp_path, "providers: {sim: {kind: simulated, stall_share: 0.5}}\nmodels: {small: sim/small}\n")
    assert load(json, {}).version == load(toml, {}).version == load(yaml, {}).version
    json.write_text('{"providers": {},\n "models": {"small": "sim/small"}}')
    with pytest.raises(ConfigError, match=r"c\.json:2 models\.small\.targets\.0\.provider: there is no provider 'sim'"):
        load(json, {})


def test_flags_go_before_the_file_and_are_named_in_messages(tmp_path: Path) -> None:
    file = file_of(tmp_path, GOOD + "server: {port: 9000, host: 127.0.0.1}\n")
    config = load(file, {}, {"server.port": 9001, "data_dir": "elsewhere"})
    assert (config.server.port, config.server.host, config.data_dir) == (9001, "127.0.0.1", Path("elsewhere"))
    with pytest.raises(ConfigError) as refused:
        load(file, {}, {"server.workers": 0})
    assert refused.value.messages[0].startswith("flag server.workers: Input should be greater than or equal to 1")


def test_a_network_address_is_fine_once_a_key_was_made(tmp_path: Path) -> None:
    data = tmp_path / "data"
    file = file_of(tmp_path, GOOD + f"server: {{host: 0.0.0.0}}\ndata_dir: {data}\n")
    with pytest.raises(ConfigError, match="needs keys"):
        load(file, {})
    KeyStore(data, load_pepper(data, {}), lambda: 0.0).create("a")
    assert load(file, {}).server.host == "0.0.0.0"


def test_every_effective_value_has_its_origin(tmp_path: Path) -> None:
    text = GOOD + "defaults: {deadline_s: 30}\nagents:\n  a: {idle_timeout_s: 5}\n"
    config = load(file_of(tmp_path, text), {"KEY": CANARY}, {"server.port": 1})
    told = {setting.path: (setting.value, setting.origin.replace(f"{tmp_path}/", "")) for setting in effective(config)}
    assert told["server.host"] == ("127.0.0.1", "default")
    assert told["server.port"] == (1, "flag")
    assert told["providers.gpu.api_key"] == ("********", "environment KEY")
    assert told["providers.gpu.engine"] == ("vllm", "headgate.yaml:3")
    assert told["models.small.targets.0.provider"] == ("sim", "headgate.yaml:5")
    assert told["models.small.targets.0.weight"] == (1, "default")
    assert told["models.qwen.targets.1.weight"] == (2, "headgate.yaml:9")
    assert told["agents.a.deadline_s"] == (30, "headgate.yaml:10")
    assert told["agents.a.idle_timeout_s"] == (5, "headgate.yaml:12")
    assert told["agents.a.first_token_timeout_s"] == (120, "default")
    assert CANARY not in repr(told)


def test_a_short_form_is_the_origin_of_what_it_stands_for(tmp_path: Path) -> None:
    text = GOOD + "  panel: {mode: quorum, members: [small, qwen], ask: 5}\n"
    told = {setting.path: setting.origin for setting in effective(load(file_of(tmp_path, text), {"KEY": CANARY}))}
    assert told["models.panel.ask.0"] == f"{tmp_path}/headgate.yaml:10"
    assert told["models.panel.rule"] == "default"


def test_a_refused_file_leaves_the_configuration_in_force_alone(tmp_path: Path) -> None:
    file = file_of(tmp_path, GOOD)
    config = load(file, {})
    before = (config.version, effective(config))
    for broken in (GOOD[:40], GOOD + "x: 1\n", GOOD.replace("${KEY:-}", "${KEY}"), "models: {}\n", "\0" * 100):
        file.write_text(broken)
        with pytest.raises(ConfigError):
            load(file, {})
    assert (config.version, effective(config)) == before


@pytest.mark.parametrize(
    "misplaced",
    [
        "server: {port: ${KEY}}",
        "server: {host: ${KEY}}",
        "agents: {a: {models: ['${KEY}']}}",
        "agents: {a: ${KEY}}",
        "telemetry: {content: ${KEY}}",
        "telemetry: ${KEY}",
        "pricing: {overrides: {sim/x: {input_usd_per_mtok: ${KEY}, output_usd_per_mtok: 1}}}",
        "data_dir: ${KEY}\nx: 1",
        "keys: [{key: ${KEY}}, {key: ${KEY}}]",
        "keys: [{key: ${KEY}, agent: ' ${KEY}'}]",
        "admin: {hosts: ['${KEY}:1'], token: ${KEY}}",
    ],
)
@pytest.mark.parametrize("secret", [CANARY, "sk-canary/it's", "sk-canary\\0123", "sk-canary 012\n", "7" * 16])
def test_a_secret_from_the_environment_is_in_no_message_wherever_it_was_put(
    tmp_path: Path, misplaced: str, secret: str
) -> None:
    text = GOOD.replace("models:\n", "models:\n  x: ${KEY}\n  y: {mode: ${KEY}, targets: ['${KEY}/m']}\n")
    told = "\n".join(refusal(tmp_path, text + misplaced + "\n", {"KEY": secret}))
    assert told
    for part in (secret.strip(), "canary", "7777"):
        assert part not in told


def test_what_looks_like_a_mistake_in_a_price_is_told_but_allowed(tmp_path: Path) -> None:
    prices = "pricing: {overrides: {sim/small: {input_usd_per_mtok: 0.0000001, output_usd_per_mtok: 1}}}\n"
    (told,) = oddities(load(file_of(tmp_path, GOOD + prices), {}))
    assert "sim/small" in told


def test_a_price_the_book_refuses_is_a_mistake_of_the_file(tmp_path: Path) -> None:
    prices = (
        "pricing: {overrides: {sim/small: {input_usd_per_mtok: 1, output_usd_per_mtok: 1, "
        "long_context_above_tokens: 9}}}\n"
    )
    (told,) = refusal(tmp_path, GOOD + prices)
    assert told.startswith("headgate.yaml:10 pricing.overrides.sim/small: ")


def test_the_data_folder_is_found_in_a_file_that_is_wrong_elsewhere(tmp_path: Path) -> None:
    file = file_of(tmp_path, GOOD + "data_dir: /var/lib/gate\nteams: {core: {}}\nserver: {host: 0.0.0.0, x: ${GONE}}\n")
    assert at_rest(file, {}) == (Path("/var/lib/gate"), ("small", "qwen"), ("core",))
    assert at_rest(file_of(tmp_path, "x: 1"), {}) == (Path("headgate-data"), (), ())


def test_the_example_is_right_and_names_every_setting() -> None:
    text = EXAMPLE.read_text()
    assert load(EXAMPLE, {}).models["small"].targets[0].provider == "simulated"
    names = {field.path.rpartition(".")[2] for field in fields()}
    assert {name for name in names if re.search(rf"\b{name}:", text) is None} == set()


def test_the_example_is_right_with_everything_switched_on(tmp_path: Path) -> None:
    on = re.sub(r"(?m)^(\s*)#(?=[^ \n])(?!   )", r"\1", EXAMPLE.read_text())
    assert on.count("#") < EXAMPLE.read_text().count("#") - 40
    environment = {"OPENAI_API_KEY": "a", "GROQ_API_KEY": "b", "AZURE_OPENAI_API_KEY": "c"}
    config = load(file_of(tmp_path, on), environment)
    assert set(config.providers) == {"simulated", "openai", "groq", "gpu-a", "gpu-b", "azure-eu"}
    assert config.providers["azure-eu"].model_dump()["api_version"] == "2024-10-21"
    assert config.limits.drain_s == 60


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["sim/a", "single"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from([field.path.split(".") for field in fields()])


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6))
def test_any_values_anywhere_are_a_configuration_or_a_config_error(changes: list[tuple[list[str], Value]]) -> None:
    values: dict[str, Value] = {"providers": {"sim": {"kind": "simulated"}}, "models": {"a": "sim/a"}}
    for parts, value in changes:
        around = values
        for part in parts[:-1]:
            inner = around.setdefault("a" if part == "*" else part, {})
            if not isinstance(inner, dict):
                break
            around = inner
        else:
            around["a" if parts[-1] == "*" else parts[-1]] = value
    try:
        config = load(None, {}, values)
    except ConfigError as refused:
        assert refused.messages  # noqa: PT017
    else:
        assert effective(config)


@given(st.binary(max_size=60), st.integers(0, len(GOOD)), st.sampled_from([".yaml", ".json", ".toml"]))
def test_any_bytes_in_any_format_are_a_configuration_or_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int, ending: str
) -> None:
    file = tmp_path_factory.getbasetemp() / f"fuzz{ending}"
    file.write_bytes(GOOD[:at].encode() + noise + GOOD[at:].encode())
    try:
        config = load(file, {})
    except ConfigError as refused:
        assert all("\x1b" not in message and "\0" not in message for message in refused.messages)  # noqa: PT017
    else:
        assert effective(config)
