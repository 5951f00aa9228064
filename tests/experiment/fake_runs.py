"""Run directories as training leaves them, without training."""

import json

import numpy as np

from rlformers.config.compose import compose, to_yaml

STATE = {"mlp": 0, "gru": 64, "s5": 128}


def fake_run(path, *overrides, values=(1.0, 2.0), first_seed=0, updates=20, finished=True, start=0.0, stopped=False):
    """Seeds whose returns go from `start` to `values`; killed unless finished or stopped."""
    config = compose([f"seeds={len(values)}", f"seed={first_seed}", *overrides])
    seeds = range(first_seed, first_seed + len(values))
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(to_yaml(config))
    rng = np.random.default_rng(first_seed)
    rows = [
        {
            "seed": seed,
            "step": 8192 * update,
            "episode/return": start
            + (value - start) * update / updates
            + 0.05 * (value - start) * rng.normal() * (update < updates) * (start != 0)
            if update > 1
            else None,
        }
        for update in range(1, updates + 1)
        for seed, value in zip(seeds, values, strict=True)
    ]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    summary = {
        "completed": finished,
        "total_steps": config.num_updates * config.batch_size,
        "seeds": list(seeds),
        "final_return": {"per_seed": list(values)},
        "final_attempts": [[1.0, 2.0]] * len(values),
        "steps_per_second": 1000.5,
        "compile_seconds": 2.25,
        "num_parameters": 34,
        "state_size": STATE.get(config.core.name, 1),
        "git_commit": "0123abc",
        "devices": ["TFRT_CPU_0"],
        "versions": {"python": "3.11.9", "jax": "0.10.2"},
    }
    if finished or stopped:
        (path / "summary.json").write_text(json.dumps(summary))
    return path


def add_evaluations(run, every, values):
    """Rows of `eval.*` of each seed, at every so many log points; the first one found nothing."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        if row["step"] % (8192 * every) == 0:
            row["eval/return"] = None if row["step"] == 8192 * every else values[row["seed"]] * row["step"]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def fake_evaluation(run, name, returns, *, step=100, greedy=False, **env_kwargs):
    """Trials with the same returns [K] of their attempts, except for an offset per task."""
    tasks = [[float(task)] for task in range(4)] * 2
    trials = [[value + task[0] for value in returns] for task in tasks]
    whole = {"mean": 1.25, "iqm": 1.375, "ci95": [1.0625, 1.5], "task_ci95": [1.125, 1.4375], "per_seed": [None] * 2}
    evaluation = {
        "env": "meta/DarkRoom",
        "env_kwargs": env_kwargs,
        "env_params": {},
        "wrap": {},
        "greedy": greedy,
        "checkpoint": {"step": step},
        "episodes_per_seed": 8,
        "results": {"return": whole, "attempt_return": {"entries": [None] * len(returns)}},
        "episodes": {
            "attempt_return": [trials] * 2,
            "attempt_count": [[[1.0] * len(returns)] * 8] * 2,
            "task": [tasks] * 2,
        },
    }
    (run / "evaluations").mkdir(exist_ok=True)
    (run / "evaluations" / f"{name}.json").write_text(json.dumps(evaluation))
