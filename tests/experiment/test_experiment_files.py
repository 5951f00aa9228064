"""Experiments that name a paper: each of its settings beside the composed one; and the numbers that headers tell."""

import math
import re
from dataclasses import fields
from pathlib import Path

import jax
import pytest

from rlformers.config import EncoderConfig, ModelConfig
from rlformers.config.compose import compose, experiments
from rlformers.config.experiments import CONFIGS
from rlformers.config.ppo import PPOConfig
from rlformers.envs.registry import find
from rlformers.envs.scores import known_scores
from rlformers.experiment.program.build import build

DOCS = Path(__file__).parents[2] / "docs" / "meta-rl.md"

# key: (the paper's value, its source). Files of luchris429/popjaxrl at commit d23294f; lines as in the experiment.
LU_POPGYM = {
    "env": ("popgym/RepeatPreviousHard", "table of POPGym's hard tasks"),
    "total_steps": (15e6, "run_popgym.py:19"),
    "wrap.truncation": ("terminates", "ppo_s5.py:201"),
    "wrap.previous_action": (False, "run_popgym.py:28; popgym's environments show it themselves"),
    "wrap.reward_input": (False, "run_popgym.py:28"),
    "model.width": (256, "run_popgym.py:32, ppo_s5.py:22"),
    "model.num_layers": (4, "run_popgym.py:34"),
    "model.encoder": (EncoderConfig(), "run_popgym.py: all that the environment shows"),
    "model.encoder_layers": (2, "ppo_s5.py:48-51"),
    "model.head_layers": (2, "ppo_s5.py:55-58, 66-69"),
    "model.activation": ("leaky_relu", "ppo_s5.py:49"),
    "model.final_norm": ("none", "ppo_s5.py:53-55"),
    "model.policy": ("auto", "ppo_s5.py:61-64"),
    "model.log_std": (math.log(0.5), "ppo_s5.py:42: 1 N m, half of the half range of 2"),
    "model.log_std_min": (-math.inf, "ppo_s5.py:42"),
    "model.log_std_max": (math.inf, "ppo_s5.py:42"),
    "model.critic": ("scalar", "ppo_s5.py:70"),
    "model.compute_dtype": ("tfloat32", "jax's default on the GPUs of the paper"),
    "ppo.lr": (5e-5, "run_popgym.py:16"),
    "ppo.anneal_lr": (False, "run_popgym.py:30"),
    "ppo.warmup": (0.0, "ppo_s5.py:146"),
    "ppo.num_envs": (64, "run_popgym.py:17"),
    "ppo.num_steps": (1024, "run_popgym.py:18"),
    "ppo.num_minibatches": (8, "run_popgym.py:21"),
    "ppo.update_epochs": (30, "run_popgym.py:20"),
    "ppo.gamma": (0.99, "run_popgym.py:22"),
    "ppo.gae_lambda": (1.0, "run_popgym.py:23"),
    "ppo.clip_eps": (0.2, "run_popgym.py:24"),
    "ppo.clip_eps_high": (None, "ppo_s5.py:229"),
    "ppo.clip_value": (True, "ppo_s5.py:220-223"),
    "ppo.ent_coef": (0.0, "run_popgym.py:25"),
    "ppo.anneal_ent": (False, "ppo_s5.py:234"),
    "ppo.vf_coef": (1.0, "run_popgym.py:26"),
    "ppo.max_grad_norm": (0.5, "run_popgym.py:27"),
    "ppo.adam_b1": (0.9, "ppo_s5.py:146, optax's default"),
    "ppo.adam_b2": (0.999, "ppo_s5.py:146, optax's default"),
    "ppo.adam_eps": (1e-5, "ppo_s5.py:146"),
    "ppo.weight_decay": (0.0, "ppo_s5.py:146"),
    "ppo.normalize_advantages": (True, "ppo_s5.py:227"),
    "ppo.target_kl": (0.0, "ppo_s5.py:259"),
    "ppo.reward_scale": (1.0, "ppo_s5.py:200"),
    "ppo.normalize_rewards": (False, "ppo_s5.py:200"),
    "ppo.normalize_observations": (False, "ppo_s5.py:172"),
    "ppo.bptt_length": (0, "ppo_s5.py:216"),
    "ppo.burn_in": (0, "ppo_s5.py:216"),
    "ppo.refresh_memory": (False, "ppo_s5.py:263"),
    "ppo.core_lr_scale": (1.0, "ppo_s5.py:146"),
}
LU_S5 = {
    "core": ("s5", "run_popgym.py:44"),
    "core.state_size": (256, "run_popgym.py:33"),
    "core.blocks": (1, "run_popgym.py:35"),
    "core.activation": ("full_glu", "run_popgym.py:36"),
    "core.norm": ("none", "run_popgym.py:37-39"),
    "core.discretization": ("zoh", "ppo_s5.py:118"),
    "core.dt_min": (0.001, "ppo_s5.py:119"),
    "core.dt_max": (0.1, "ppo_s5.py:120"),
    "core.conj_sym": (True, "ppo_s5.py:121"),
}
LU_META = {
    "env_kwargs.episodes": (16, "section 5; meta_cartpole.py:32"),
    "env_kwargs.max_steps_in_episode": (200, "meta_cartpole.py:39"),
    "env_kwargs.rescale": (False, "meta_cartpole.py:61"),
    "env_kwargs.inputs": (("previous_reward", "episode_end"), "algorithm 1"),
}
MORAD = {
    "env": ("popgym/RepeatPreviousMedium", "table 3"),
    "ppo.gamma": (0.99, "hyper-parameters of the appendix"),
    "ppo.num_envs": (64, "hyper-parameters of the appendix"),
    "ppo.num_steps": (1024, "hyper-parameters of the appendix: length of BPTT"),
    "core.state_size": (256, "hyper-parameters of the appendix: size of the memory"),
    "total_steps": (15e6, "hyper-parameters of the appendix"),
}
# Rows of papers, and the keys in which the experiment deviates on purpose, as its header tells.
BOUNDS = {"model.compute_dtype", "model.log_std_min", "model.log_std_max"}
PAPERS = {
    "popgym_lu2023": (LU_POPGYM | LU_S5, BOUNDS),
    "popgym_lu2023_gru": (
        LU_POPGYM | {"core": ("gru", "run_popgym.py:43"), "model.num_layers": (1, "ppo_gru.py:30")},
        BOUNDS,
    ),
    "meta_cartpole": (LU_META, set(LU_META)),
    "repeat_previous_medium": (MORAD, {"ppo.num_steps", "core.state_size", "total_steps"}),
}
WITHOUT_EFFECT = {"model.value_bins", "model.value_limit"}  # of a scalar critic


def header(name):
    lines = (CONFIGS / "experiment" / f"{name}.yaml").read_text().splitlines()
    return re.sub(r"\s+", " ", " ".join(line[1:] for line in lines if line.startswith("#")))


def composed(config, key):
    node, _, name = key.rpartition(".")
    if key == "core":
        return config.core.name
    if node == "core":
        return config.core.options[name]
    if node == "env_kwargs":
        return (find(config.env).kwargs | config.env_kwargs).get(name)
    return getattr(getattr(config, node) if node else config, name)


def test_every_experiment_that_names_a_paper_is_compared_with_it():
    assert {name for name in experiments() if "et al." in header(name)} == set(PAPERS)


@pytest.mark.parametrize("name", PAPERS)
def test_settings_are_the_papers_but_for_the_deviations_of_the_header(name):
    rows, deviations = PAPERS[name]
    config = compose([f"experiment={name}"])
    assert {key for key, (value, _) in rows.items() if composed(config, key) != value} == deviations
    assert "Deviations:" in header(name) and all(source for _, source in rows.values())


def test_no_setting_of_the_protocol_is_left_to_a_default():
    keys = {
        f"{node}.{item.name}" for node, kind in (("ppo", PPOConfig), ("model", ModelConfig)) for item in fields(kind)
    }
    assert keys - WITHOUT_EFFECT <= set(LU_POPGYM)
    options = {f"core.{name}" for name in compose(["core=s5"]).core.options}
    assert options - {"core.scan"} <= set(LU_S5), "scan: another order of the same sums"


@pytest.mark.parametrize(
    "name,core",
    [
        # Λ, B, C, D, Δ and the two matrices of the GLU, no norms; W, U and their biases.
        ("popgym_lu2023", 4 * (2 * 128 + 2 * 128 * 256 + 2 * 256 * 128 + 256 + 128 + 2 * (256 * 256 + 256))),
        ("popgym_lu2023_gru", 256 * 768 + 768 + 256 * 768 + 256),
    ],
)
def test_the_agent_has_the_layers_of_the_paper_and_no_others(name, core):
    agent = jax.eval_shape(build(compose([f"experiment={name}"])).make_agent, jax.random.key(0))
    layer = 256 * 256 + 256
    encoder, actor, critic = (9 * 256 + 256) + layer, 2 * layer + 256 * 4 + 4, 2 * layer + 256 + 1
    assert sum(leaf.size for leaf in jax.tree.leaves(agent)) == encoder + core + actor + critic


def test_the_environment_of_the_paper_is_what_a_header_says():
    kwargs = find("meta/ProjectedCartPoleLu2023").kwargs
    assert {key: kwargs[key.removeprefix("env_kwargs.")] for key in LU_META} == {k: v for k, (v, _) in LU_META.items()}


def documented(env, whose):
    """The number in the table of docs/meta-rl.md; tests/envs/test_meta_tasks.py plays it."""
    row = next(line for line in DOCS.read_text().splitlines() if line.startswith(f"| `{env}`"))
    return float(re.search(rf"{whose} ([\d.]+)", row)[1])


def published(name, who):
    return next(row.value for row in known_scores(name, {}).published if who in row.who)


@pytest.mark.parametrize(
    "name,words,number,of",
    [
        ("popgym_lu2023", "{} million steps, 30 epochs", 15, lambda c: c.total_steps / 1e6),
        ("popgym_lu2023", "env_kwargs.k={} of RepeatPreviousHard", 65, lambda c: find(c.env).kwargs["k"] + 1),
        ("meta_cartpole", "{} of at most 200 steps", 8, lambda c: find(c.env).kwargs["episodes"]),
        ("meta_cartpole", "Trials last 64 to {} steps", 1600, lambda c: 200 * find(c.env).kwargs["episodes"]),
        ("meta_bandit", "Thompson sampling {}", 77.1, lambda c: documented(c.env, "Thompson sampling")),
        ("meta_bandit", "Greedy on the posterior mean returns {}", 79.6, lambda c: documented(c.env, "greedy.*?mean")),
        ("meta_bandit", "the best arm {}", 90.9, lambda c: round(known_scores(c.env, {}).ceiling, 1)),
        ("meta_bandit", "10 arms in {} pulls", 100, lambda c: int(find(c.env).length)),
        ("meta_dark_room", "is at most {}", 6.4, lambda c: math.ceil(sum(c.ppo.gamma**t for t in range(100))) / 10),
        ("memory_chain", "last in view {} observations ago", 63, lambda c: c.env_params["memory_length"] - 1),
        ("repeat_previous_easy", "card shown {} observations ago", 3, lambda c: find(c.env).kwargs["k"] - 1),
        ("repeat_previous_medium", "card shown {} observations ago", 31, lambda c: find(c.env).kwargs["k"] - 1),
        ("repeat_previous_medium", "scored {} (LMU", 0.788, lambda c: published(c.env, "LMU")),
        ("tmaze", "{} steps long", 20, lambda c: c.env_params["length"]),
    ],
)
def test_numbers_of_headers(name, words, number, of):
    assert words.format(number) in header(name)
    assert of(compose([f"experiment={name}"])) == number
