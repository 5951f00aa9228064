"""The faults: a correct line and its faulty replacement."""

from typing import NamedTuple

from fault_table import TABLE

LEARNER = ("tests/oracles/ppo/test_update.py",)

# The files whose fast tests must notice a fault in a file, the quickest first.
TESTS = {
    "agents/acting.py": ("tests/agents/test_acting.py", *LEARNER),
    "agents/agent.py": ("tests/agents/test_agent.py", "tests/agents/test_masks.py"),
    "agents/bounds.py": ("tests/agents/test_bounds.py",),
    "agents/boxes.py": ("tests/agents/test_boxes.py",),
    "agents/encoder.py": (
        "tests/agents/test_encoder.py",
        "tests/agents/test_agent.py",
        "tests/agents/test_symbols.py",
        "tests/agents/test_stored_observations.py",
    ),
    "agents/symbols.py": ("tests/agents/test_symbols.py",),
    "agents/scales.py": ("tests/agents/test_scales.py",),
    "agents/gae.py": ("tests/agents/test_gae.py",),
    "agents/heads.py": ("tests/agents/test_agent.py",),
    "agents/hl_gauss.py": ("tests/agents/test_hl_gauss.py",),
    "agents/learning.py": LEARNER,
    "agents/losses.py": ("tests/agents/test_losses.py",),
    "agents/masks.py": ("tests/agents/test_masks.py", "tests/agents/test_agent.py"),
    "agents/memory_metrics.py": ("tests/agents/test_memory_metrics.py",),
    "agents/normalizers.py": (
        "tests/agents/test_normalizers.py",
        "tests/agents/test_masks.py",
        "tests/agents/test_stored_observations.py",
    ),
    "agents/optimizer.py": ("tests/agents/test_optimizer.py",),
    "agents/policies.py": ("tests/agents/test_policies.py", "tests/agents/test_boxes.py"),
    "agents/ppo.py": (
        *LEARNER,
        "tests/agents/test_ppo.py::test_environments_start_apart",
        "tests/agents/test_ppo.py::test_observations_reach_the_agent_as_they_are",
    ),
    "agents/schedules.py": ("tests/agents/test_schedules.py",),
    "agents/sequences.py": ("tests/agents/test_sequences.py",),
    "envs/lazy_resets.py": ("tests/envs/test_lazy_resets.py",),
    "envs/wrappers/trial.py": ("tests/envs/test_meta.py",),
    "rlformers/experiment/training/return_windows.py": ("tests/experiment/test_return_windows.py",),
    "rlformers/experiment/training/episode_sums.py": ("tests/experiment/test_episode_sums.py",),
    "rlformers/experiment/evaluation/all_seeds.py": (
        "tests/experiment/test_evaluate.py",
        "tests/experiment/test_whole_episodes.py",
        "tests/experiment/test_evaluation_in_training.py",
    ),
    "rlformers/experiment/evaluation/episode_statistics.py": (
        "tests/experiment/test_statistics.py",
        "tests/experiment/test_evaluate.py",
    ),
    "rlformers/experiment/evaluation/one_agent.py": (
        "tests/experiment/test_evaluate.py",
        "tests/experiment/test_whole_episodes.py",
    ),
    "rlformers/experiment/statistics/over_seeds.py": ("tests/experiment/test_statistics.py",),
    "rlformers/experiment/statistics/over_tasks.py": ("tests/experiment/test_statistics.py",),
    "rlformers/experiment/statistics/permutation_test.py": ("tests/experiment/test_across_tasks.py",),
    "rlformers/config/ppo.py": ("tests/test_ppo_config.py",),
}


class Fault(NamedTuple):
    """What is wrong in a mutant."""

    path: str
    name: str
    right: str  # stands in the file once
    wrong: str


FAULTS = [Fault(path, *fault) for path, faults in TABLE.items() for fault in faults]
