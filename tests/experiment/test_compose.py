"""From overrides to a checked config: accepted and refused values, messages, and the way back from a file."""

import json
import re
import typing
from typing import Any

import pytest

from rlformers.config import ExperimentConfig
from rlformers.config.compose import change, compose, experiments, from_dict, load, to_dict, to_yaml
from rlformers.config.hints import ELSEWHERE
from rlformers.config.typed_node import Node
from rlformers.cores import registry


@pytest.mark.parametrize("name", experiments())
def test_every_experiment_composes_and_survives_its_yaml(name, tmp_path):
    config = compose([f"experiment={name}"])
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert load(tmp_path / "config.yaml") == config
    assert experiments()[name].headline, "an experiment says in its first line what it trains"


def test_defaults_and_core_options():
    config = compose(["core=s5", "core.state_size=128", "total_steps=2e6", "ppo.lr=3e-4", "seeds=3"])
    assert config.core.name == "s5" and config.core.options["state_size"] == 128
    assert (config.total_steps, config.ppo.lr, config.seeds) == (2_000_000, 3e-4, 3)
    assert compose([]).core.name == "gru"


def test_the_command_line_wins_over_the_experiment():
    config = compose(["ppo.lr=0.1", "experiment=popgym_lu2023", "core.state_size=32"])
    assert (config.ppo.lr, config.ppo.update_epochs) == (0.1, 30)
    assert (config.core.options["state_size"], config.core.options["activation"]) == (32, "full_glu")


def test_values_written_before_there_was_a_key_get_its_default():
    values = to_dict(compose(["core=s5", "core.state_size=32", "ppo.lr=0.1"]))
    del values["checkpoint"], values["ppo"]["gamma"], values["core"]["activation"], values["wrap"]["delay"]
    assert from_dict(values) == compose(["core=s5", "core.state_size=32", "ppo.lr=0.1"])
    with pytest.raises(ValueError, match="ppo.gone"):
        from_dict(values | {"ppo": {"gone": 1}})


def test_runs_of_before_go_on_as_they_were(tmp_path):
    """Truncations bootstrapped by default, everywhere; `null`, the environment's own, came later."""
    env = "env=popgym/MultiarmedBanditEasy"
    assert compose([env]).wrap.truncation is None
    values = to_dict(compose([env]))
    assert from_dict(values).wrap.truncation is None
    saved = values | {"wrap": values["wrap"] | {"truncation": "bootstraps"}}
    assert from_dict(saved).wrap.truncation == "bootstraps"
    for older in ({key: value for key, value in values.items() if key != "wrap"}, values | {"wrap": {"noise": 0.0}}):
        assert from_dict(older).wrap.truncation == "bootstraps"
        (tmp_path / "config.yaml").write_text(json.dumps(older))
        assert compose([f"config={tmp_path}"]).wrap.truncation == "bootstraps"
    assert compose([f"config={tmp_path}", "wrap.truncation=null"]).wrap.truncation is None


@pytest.mark.parametrize(
    "env, before",
    [
        ("meta/Alchemy", {"split": "all"}),
        ("meta/ProjectedCartPole", {"max_steps_in_episode": 50}),
        ("xland/Meta-R1-9x9", {"split": "all"}),
        ("meta/DarkRoom", {}),
    ],
)
def test_arguments_whose_default_changed_are_what_they_were(env, before, tmp_path):
    values = to_dict(compose([f"env={env}"]))
    assert from_dict(values).env_kwargs == {}
    older = {key: value for key, value in values.items() if key != "trial"}
    assert from_dict(older).env_kwargs == before
    (tmp_path / "config.yaml").write_text(json.dumps(older))
    assert compose([f"config={tmp_path}"]).env_kwargs == before
    said = {key: "train" if key == "split" else 200 for key in before}
    assert from_dict(older | {"env_kwargs": said}).env_kwargs == said


NAMES = list(experiments())


@pytest.mark.parametrize(
    "name,core",
    [
        # One experiment for every core; the others in the slow rows.
        pytest.param(name, core, marks=[] if number % len(NAMES) == place else pytest.mark.slow)
        for number, core in enumerate(registry.entries())
        for place, name in enumerate(NAMES)
    ],
)
def test_every_core_can_be_swapped_into_every_experiment(name, core):
    assert compose([f"experiment={name}", f"core={core}"]).core.name == core


@pytest.mark.parametrize("plus", ["", "+", "++"])
def test_environment_arguments_need_no_plus(plus):
    config = compose([f"{plus}env_params.length=30", f"{plus}env_kwargs.mode=dark"])
    assert config.env_params == {"length": 30} and config.env_kwargs == {"mode": "dark"}


@pytest.mark.parametrize("mask", ["[0,2]", "velocities", "null"])
def test_partial_observability_survives_its_yaml(mask, tmp_path):
    config = compose([f"wrap.mask={mask}", "wrap.noise=0.1", "wrap.action_repeat=2"])
    assert config.wrap.mask == {"[0,2]": [0, 2], "velocities": "velocities", "null": None}[mask]
    assert (config.wrap.noise, config.wrap.action_repeat, config.wrap.flicker) == (0.1, 2, 0.0)
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert load(tmp_path / "config.yaml") == config


def test_strings_that_look_like_numbers_survive_the_file(tmp_path):
    config = compose(["env_kwargs.a='1e6'", "env_kwargs.b='no'", "wandb.tags=['010']", "run_dir='a b,c=d'"])
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert load(tmp_path / "config.yaml") == config
    assert config.env_kwargs == {"a": "1e6", "b": "no"} and config.run_dir == "a b,c=d"


BAD = [
    ("ppo.lrr=1", "ppo.lrr: unknown key; did you mean 'ppo.lr'?"),
    ("lr=1", "lr: unknown key; did you mean 'ppo.lr'?"),
    ("+foo=1", "foo: unknown key"),
    ("core.state_size=64", "core.state_size: unknown key of this core, which has no options"),
    ("core_options.s5.state_size=3", "core_options.s5.state_size: unknown key"),
    ("core.name=s5", "core.name: choose the core with core=NAME"),
    ("core=s6", "core: 's6' is none of "),
    ("core=[s5]", "core: '[s5]' is none of "),
    ("experiment=tmaz", "did you mean 'tmaze'?"),
    ("ppo.lr=fast", "ppo.lr: need a float, got 'fast'"),
    ("ppo.lr=[1,2]", "ppo.lr: need a float, got '[1,2]'; several values: --multirun vmap_over=ppo.lr ppo.lr=1,2"),
    ("model.width=[8,16]", "model.width: need an int, got '[8,16]'; several values: --multirun model.width=8,16"),
    ("sweep.hparams.ppo.lr=[1,2]", "sweep.hparams.ppo.lr: unknown key; several values: --multirun vmap_over=ppo.lr "),
    ("sweep.hparams.core=[gru,s5]", "sweep.hparams.core: unknown key; several values: --multirun core=gru,s5"),
    ("ppo.lr=null", "ppo.lr: need a float, got null"),
    ("ppo.lr=true", "ppo.lr: need a float, got 'true'"),
    ("ppo.lr=nan", "ppo.lr: need a finite number, got nan"),
    ("ppo.lr=-1", "ppo.lr: need a positive number, got -1.0"),
    ("total_steps=inf", "total_steps: need a finite number, got inf"),
    ("seeds=2.5", "seeds: need an int, got '2.5'"),
    ("model.width=64.5", "model.width: need an int, got '64.5'"),
    ("ppo.anneal_lr=maybe", "ppo.anneal_lr: need true or false, got 'maybe'"),
    ("wandb.tags=a", "wandb.tags: need a list [...] of strings, got 'a'"),
    ("wandb.tags=[[a]]", "wandb.tags: need a list [...] of strings"),
    ("wrap.noise=loud", "wrap.noise: need a float, got 'loud'"),
    ("wrap.blur=1", "wrap.blur: unknown key"),
    ("wrap.reward_input=1.5", "wrap.reward_input: need true or false, got '1.5'"),
    ("wrap=noise", "wrap: need wrap.action_repeat=..., got 'noise'"),
    ("wandb.mode=on", "wandb.mode: need one of auto, online, offline, disabled, got"),
    ("wandb=offline", "wandb: need wandb.mode=..., got 'offline'"),
    ("env_params=3", "env_params: need env_params.NAME=..., got '3'"),
    ("ppo", "'ppo': need key=value"),
    ("", "'': need key=value"),
    ("env=a=b", "'env=a=b': need key=value; put a value with special characters in quotes"),
    ("~ppo.lr", "~ppo.lr: this key cannot be removed"),
    ("+ppo.lr=1", "+ppo.lr: the key exists; write ppo.lr="),
    ("core=s5,gru", "core: 's5,gru' is a sweep; add --multirun"),
    ("core@model=s5", "core@model: packages cannot be changed"),
    ("hydra.run.dir=x", "hydra.run.dir: Hydra's own settings"),
    ("ppo.lr=${nothing}", "ppo.lr: Interpolation key 'nothing' not found"),
    ("env=${oc.env:HOME}", "env: ${oc.env:...} is not allowed"),
    ("env_kwargs.x=${oc.env:HOME}", "env_kwargs.x: ${oc.env:...} is not allowed"),
    ("env_kwargs._target_=os.system", "'_target_' is not allowed"),
]


@pytest.mark.parametrize("override,message", BAD, ids=[override or "empty" for override, _ in BAD])
def test_bad_overrides_are_one_line_that_names_the_key(override, message):
    with pytest.raises(ValueError) as caught:
        compose([override])
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text,words",
    [
        ("core: {name: gru}\nppo: {lrr: 1}\n", ["ppo.lrr"]),
        ("core: {name: gru}\nppo: {lr: fast}\n", ["ppo.lr", "fast"]),
        ("core: {name: nope}\n", ["core", "nope"]),
        ("env: a\n", ["core"]),
        ("- 1\n", ["config.yaml: need the keys of an experiment with their values, got [1]"]),
        ("3\n", ["config.yaml: not the config of an experiment"]),
        ("core: gru\n", ["config.yaml: core: need ", "such as {name: gru}, got 'gru'"]),
        ("core:\n", ["config.yaml: core: need ", "got None"]),
        ("core: [1]\n", ["config.yaml: core: need ", "got [1]"]),
        ("core: {name: gru}\nppo: fast\n", ["config.yaml: ppo: need keys with values, got 'fast'"]),
        ("core: {name: gru}\nwandb:\n", ["config.yaml: wandb: need keys with values, got None"]),
        ("core: {name: gru}\neval: {env_params: 3}\n", ["config.yaml: eval.env_params: need keys with values, got 3"]),
        ("a: [\n", []),
        ("core: {name: gru}\nenv: ${oc.env:HOME}\n", ["oc.env"]),
        ("core: {name: gru}\nenv_kwargs: {_target_: os.system}\n", ["_target_"]),
    ],
)
def test_bad_files_are_one_line_that_names_the_file(text, words, tmp_path):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ValueError) as caught:
        load(tmp_path / "config.yaml")
    assert all(word in str(caught.value) for word in ["config.yaml", *words]) and "\n" not in str(caught.value)


@pytest.mark.parametrize("values", [None, "x", [1], {}, {"core": "gru"}, {"core": {}}, {"core": {"name": 3}}])
def test_values_that_are_no_config_are_one_line(values):
    with pytest.raises(ValueError, match="^(core: )?need the [^\n]*$"):
        from_dict(values)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere.yaml: No such file"):
        load(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("name,target", ELSEWHERE.items())
def test_names_of_other_libraries_point_to_keys_that_exist(name, target):
    assert " " in target or target in (*Node(ExperimentConfig, "transformer").kinds, "core")


@pytest.mark.parametrize(
    "word,hint",
    [
        ("learning_rate=1", "'ppo.lr'"),
        ("ppo.learning_rate=1", "'ppo.lr'"),
        ("n_steps=1", "'ppo.num_steps'"),
        ("n_envs=1", "'ppo.num_envs'"),
        ("num_envs=1", "'ppo.num_envs'"),
        ("clip_range=1", "'ppo.clip_eps'"),
        ("n_epochs=1", "'ppo.update_epochs'"),
        ("ent_coeff=1", "'ppo.ent_coef'"),
        ("ent_coef=1", "'ppo.ent_coef'"),
        ("vf_coef=1", "'ppo.vf_coef'"),
        ("gamma=1", "'ppo.gamma'"),
        ("gae_lambda=1", "'ppo.gae_lambda'"),
        ("total_timesteps=1", "'total_steps'"),
        ("batch_size=1", "'ppo.num_minibatches'"),
        ("hidden_size=1", "'model.width'"),
        ("core.hidden_size=1", "'model.width'"),
        ("num_layers=1", "'model.num_layers'"),
        ("env_id=1", "'env'"),
        ("log_dir=1", "'run_dir'"),
        ("project=1", "'wandb.project'"),
        ("device=cuda", "JAX_PLATFORMS=cpu|cuda"),
        ("gpu=0", "CUDA_VISIBLE_DEVICES=0"),
        ("algo=ppo", "the only algorithm is PPO"),
    ],
)
def test_names_of_other_libraries_get_a_hint(word, hint):
    with pytest.raises(ValueError, match=re.escape(hint)) as caught:
        compose([word])
    assert str(caught.value).startswith(f"{word.partition('=')[0]}: unknown key") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "words,message",
    [
        (["--ppo.lr=0.1"], "'--ppo.lr=0.1': write ppo.lr=0.1, without dashes"),
        (["--learning-rate", "0.1"], "'--learning-rate 0.1': write ppo.lr=0.1, without dashes"),
        (["--seeds", "core=gru"], "'--seeds': write seeds=VALUE, without dashes"),
        (["-core", "gru"], "'-core gru': write core=gru, without dashes"),
        (["--device=cuda"], "'--device=cuda': write device=cuda, without dashes"),
    ],
)
def test_options_with_dashes_are_told_how_to_be_written(words, message):
    with pytest.raises(ValueError) as caught:
        compose(words)
    assert str(caught.value) == message


OPTIONAL = [
    key
    for key, kind in Node(ExperimentConfig, "gru").kinds.items()
    if kind is Any or type(None) in typing.get_args(kind)
]


@pytest.mark.parametrize("null", ["null", "None", "none"])
@pytest.mark.parametrize("key", [*OPTIONAL, "experiment", "config"])
def test_null_is_written_in_three_ways(key, null):
    assert set(OPTIONAL) >= {"run_dir", "wandb.group", "wandb.entity", "ppo.clip_eps_high", "wrap.mask"}
    assert compose([f"{key}={null}"]) == compose([])


def test_what_wandb_agent_writes_is_taken():
    words = ["ppo={'lr': 0.002, 'anneal_lr': False, 'clip_eps_high': None}", "model.width=32.0", "seeds=2.0"]
    words += ["wandb.tags=['', a, ' ']", "env_kwargs.size=None", "eval={'every': 1e5, 'env_kwargs': {'a': 'b=c'}}"]
    config = compose([*words, "core={'name': 's5', 'state_size': 16.0}"])
    assert (config.ppo.lr, config.ppo.anneal_lr, config.ppo.clip_eps_high) == (0.002, False, None)
    assert (config.model.width, config.seeds, type(config.seeds)) == (32, 2, int)
    assert (config.wandb.tags, config.env_kwargs) == (["a"], {"size": None})
    assert (config.eval.every, config.eval.env_kwargs) == (1e5, {"a": "b=c"})
    assert (config.core.name, config.core.options["state_size"]) == ("s5", 16)
    assert compose(["wandb.tags="]).wandb.tags == compose(['wandb.tags=[""]']).wandb.tags == []
    assert compose(['ppo={"lr": 0.002, "clip_value": true}']).ppo.clip_value
    with pytest.raises(ValueError, match=r"^ppo.lrr: unknown key; did you mean 'ppo.lr'\?$"):
        compose(["ppo={'lrr': 0.1}"])
    with pytest.raises(ValueError, match="^ppo.num_envs: need an int, got '2.5'$"):
        compose(["ppo={'num_envs': 2.5}"])


@pytest.mark.parametrize("text", ["runs/a=b", "'runs/a=b'", '"runs/a=b"', "\\'runs\\'/(a)", "~/a=b", "a b, c=d'"])
def test_directories_have_any_name(text, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/me")
    run_dir = compose([f"run_dir={text}"]).run_dir
    expected = text.replace("~", "/home/me")
    assert run_dir == (expected[1:-1] if text[0] in "'\"" else expected)
    (tmp_path / "config.yaml").write_text(to_yaml(compose([f"run_dir={text}"])))
    assert load(tmp_path / "config.yaml").run_dir == run_dir


def test_a_value_can_refer_to_another_one():
    config = compose(["ppo.num_minibatches=${ppo.num_envs}", "wandb.group=${core.name}-${seeds}", "core=s5"])
    assert (config.ppo.num_minibatches, config.wandb.group) == (64, "s5-1")
    with pytest.raises(ValueError, match="^ppo.lr: need a float, got 'gru'$"):
        compose(["ppo.lr=${core.name}"])


def test_texts_and_removals():
    assert compose(["wandb.group=010"]).wandb.group == "010"
    assert compose(["env_params={a: 1, b: {c: 2}}", "~env_params.b.c", "env_params.d=3"]).env_params == {
        **{"a": 1, "b": {}, "d": 3}
    }
    with pytest.raises(ValueError, match="^~env_params.a: there is no such key to remove$"):
        compose(["~env_params.a"])


def test_changes_of_a_configuration_leave_it_alone():
    config = compose(["env_kwargs.a.b=1", "core=s5"])
    changed = change(config, ["env_kwargs.a.c=2", "core.state_size=8"])
    assert changed.env_kwargs == {"a": {"b": 1, "c": 2}} and changed.core.options["state_size"] == 8
    assert config == compose(["env_kwargs.a.b=1", "core=s5"])
    with pytest.raises(ValueError, match="^ppo.lr: '1,2' is a sweep, need one value; quote it"):
        change(config, ["ppo.lr=1,2"])


def test_total_steps_are_decisions_whatever_an_action_repeats():
    words = ["total_steps=1024", "ppo.num_envs=4", "ppo.num_steps=16", "ppo.num_minibatches=2"]
    assert compose([*words, "wrap.action_repeat=4"]).num_updates == compose(words).num_updates == 1024 // (4 * 16)
