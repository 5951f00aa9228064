"""What must hold of an environment in play."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlformers.envs import spaces
from rlformers.envs.adapters.host import on_host
from rlformers.envs.checks.report import Point, require
from rlformers.envs.checks.rollouts import Rollouts, Step, first_difference, moved, nudged, to_numpy
from rlformers.envs.environment import Environment, Wrapper, never_truncates
from rlformers.envs.wrappers.flatten import Flatten
from rlformers.envs.wrappers.timing import ActionRepeat
from rlformers.envs.wrappers.trial import Trial
from rlformers.quick_compile import IN_A_HURRY

TIME_LIMIT = 7  # what max_steps_in_episode is set to, to see episodes cut off
MOST_SCANS = 32  # until an episode ends, where there is no such limit
FLATTENED = 64  # first steps whose observations are flattened
COMPARED = 8  # first steps, and ends, that are compared one by one


class Shortened(NamedTuple):
    """An environment that was built with a short time limit."""

    env: Environment
    params: Any
    limit: str  # in words


class Run(NamedTuple):
    """A rollout of T steps, and of what."""

    env: Environment
    params: Any
    limit: str  # the short time limit, in words
    first: Any  # observations of the resets, [B, ...]
    steps: Step


def play(rollouts: Rollouts, key: Any, params: Any, short: Shortened | None = None) -> tuple[Run, Run | None]:
    """Random play until an episode ends, and again from the same start with a short time limit, if there is any.

    Args:
        rollouts: Of the environment.
        key: Of the play.
        params: Of the environment.
        short: The environment with the short limit, if the params have none.
    """
    env = rollouts.env.env
    limited = _with_limit(params)
    if limited is not None:
        limit = f"max_steps_in_episode={TIME_LIMIT}"
        free = Run(env, params, "", *_play(rollouts, key, params, 1))
        return free, Run(env, limited, limit, *_play(rollouts, key, limited, 1))
    free = Run(env, params, "", *_play(rollouts, key, params, MOST_SCANS))
    if short is None:
        return free, None
    again = Rollouts(short.env, rollouts.num_envs, rollouts.num_steps)
    return free, Run(*short, *_play(again, key, short.params, 1))


def _play(rollouts: Rollouts, key: Any, params: Any, most: int) -> tuple[Any, Step]:
    """First observations, and the steps of scans until an episode ends; at most `most` scans."""
    carry = rollouts.start(key, params)
    first, scans = jax.tree.map(to_numpy, carry[0]), []
    for number in range(most):
        carry, steps = rollouts.go_on(carry, jax.random.fold_in(key, number), params)
        scans.append(steps)
        if steps.done[:, 0].any():
            break
    return first, jax.tree.map(_concatenate, *scans)


def _concatenate(*parts: Any) -> Any:
    return parts[0] if len(parts) == 1 else to_numpy(jnp.concatenate(parts))


def _with_limit(params: Any) -> Any:
    fields = [field.name for field in dataclasses.fields(params)] if dataclasses.is_dataclass(params) else []
    if "max_steps_in_episode" not in fields:
        return None
    present = params.max_steps_in_episode
    if np.shape(present) or present <= TIME_LIMIT:
        return None
    limit = type(present)(TIME_LIMIT) if isinstance(present, int | float) else np.asarray(TIME_LIMIT, present.dtype)
    return dataclasses.replace(params, max_steps_in_episode=limit)


def check_deterministic(rollouts: Rollouts, key: Any, free: Run) -> None:
    """The same keys make the same episodes, bit for bit."""
    carry = rollouts.start(key, free.params)
    _, steps = rollouts.go_on(carry, jax.random.fold_in(key, 0), free.params)
    before = jax.tree.map(lambda x: x[: rollouts.num_steps], free.steps)
    if on_host(rollouts.env):  # other copies, with other handles, play the same episodes
        steps, before = steps._replace(before=()), before._replace(before=())
    difference = first_difference(steps._asdict(), before._asdict(), exact=True)
    require(not difference, f"played again: {difference}")


def _everything(run: Run) -> Iterator[tuple[str, Any]]:
    """All observations, [T, B, ...]."""
    yield "observation of a reset", jax.tree.map(lambda x: x[None], run.first)
    yield "observation", run.steps.obs
    yield "final_observation", run.steps.final


def check_finite(run: Run) -> None:
    """No NaN and no infinity."""
    for what, values in (*_everything(run), ("reward", run.steps.reward)):
        for path, leaf in jax.tree_util.tree_leaves_with_path(values):
            bad = ~np.isfinite(leaf.astype(np.float64))
            place = f"{what}{jax.tree_util.keystr(path)}"
            require(not bad.any(), f"{place} is {leaf[bad][:1].tolist()} at step {np.argwhere(bad)[:1, 0].tolist()}")


def check_contained(run: Run, flattened: bool = True, ignore: Sequence[str] = ()) -> None:
    """Observations lie in their space, up to rounding, as the environment shows them and as agents see them.

    Args:
        run: What was played.
        flattened: Whether what agents see is looked at too.
        ignore: Parts that they are not shown.
    """
    space = run.env.observation_space(run.params)
    for what, values in _everything(run):
        _compare(space, values, what)
    if not flattened:
        return
    flat = Flatten(run.env, ignore)
    flat_space = flat.observation_space(run.params)
    if spaces.text(flat_space) == spaces.text(space):  # a vector or an image: nothing to flatten
        return
    flatten = jax.vmap(jax.vmap(lambda obs: flat.flatten(obs, run.params)))
    first, *later = (jax.tree.map(lambda x: x[:FLATTENED], values) for _, values in _everything(run))
    together = jax.tree.map(lambda *parts: np.concatenate(parts), first, *later)  # for one program
    seen = jax.tree.map(to_numpy, jax.jit(flatten, compiler_options=IN_A_HURRY)(together))
    half = (len(jax.tree.leaves(seen)[0]) - 1) // 2
    for (what, _), part in zip(_everything(run), (slice(1), slice(1, 1 + half), slice(1 + half, None)), strict=True):
        _compare(flat_space, jax.tree.map(lambda x, part=part: x[part], seen), f"flattened {what}")


def _compare(space: spaces.Space, values: Any, place: str) -> None:
    """Values [T, B, ...] lie in a space."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        keys = space.spaces if isinstance(space, spaces.Dict) else range(len(space.spaces))
        for key in keys:
            _compare(space.spaces[key], values[key], f"{place}[{key!r}]")
        return
    if isinstance(space, spaces.Box):
        low, high = (np.asarray(bound, np.float64) for bound in (space.low, space.high))
        # Bounds such as 1 for a cosine are missed by a rounding error.
        slack = 1e-5 if np.issubdtype(space.dtype, np.floating) else 0.0
        low, high = low - slack * np.maximum(1, np.abs(low)), high + slack * np.maximum(1, np.abs(high))
    else:
        low, high = np.zeros(()), np.asarray(getattr(space, "nvec", None) or space.n) - 1
    outside = (values < low) | (values > high)
    if outside.any():
        at = tuple(np.argwhere(outside)[0])
        bounds = (float(np.broadcast_to(bound, values.shape)[at]) for bound in (low, high))
        entry = str([int(i) for i in at[2:]]) if at[2:] else ""
        require(False, "{}{} is {} at step {}, need {:g} to {:g}".format(place, entry, values[at], at[0], *bounds))


def check_single_steps(runs: list[Run], key: Any) -> list[Point]:
    """`env.step`, its own reset included, does alone what the vmapped scan around `step_env` did.

    An environment on the host cannot go back to a state. It plays its episodes again, from the key
    of their reset.
    """
    env = runs[0].env
    step = jax.jit(env.step, compiler_options=IN_A_HURRY)
    same, fresh, last = (
        "single steps equal the scan",
        "the automatic reset shows a first observation",
        "final_observation is that of the last step",
    )
    failures: dict[str, str] = {}
    compared = ends = 0
    for run in runs:
        done = run.steps.done[:, 0]
        times = sorted({*range(COMPARED), *np.flatnonzero(done)[:COMPARED].tolist()})
        again = env.reset(key, run.params)[1] if on_host(env) else None
        pairs, slack = [], None
        for t in times if again is None else range(times[-1] + 1):
            before, action = (jax.tree.map(lambda x, t=t: x[t], tree) for tree in (run.steps.before, run.steps.action))
            action = jax.tree.map(lambda x: x[0], action)
            state = before if again is None else again
            returned = step(run.steps.key[t], state, action, run.params)
            if len(returned) != 6:
                return [Point(same, f"step returns {len(returned)} values, need 6")]
            alone = _by_name(*returned)
            scanned = jax.tree.map(lambda x, t=t: x[t, 0], run.steps._replace(key=(), before=()))
            expected = {
                "reward": scanned.reward,
                "terminated": scanned.terminated,
                "truncated": scanned.truncated,
                "observation": scanned.obs,
                "final_observation": scanned.final,
            }
            if again is not None:
                again = alone["state"]
            else:
                near = _by_name(*step(run.steps.key[t], nudged(state), action, run.params))
                here = moved(alone, near)
                slack = here if slack is None else jax.tree.map(max, slack, here)
                if t + 1 < len(done):
                    expected["state"] = jax.tree.map(lambda x, t=t: x[t + 1], run.steps.before)
            pairs.append((t, alone, expected))
            if "final_observation" not in returned[-1]:
                failures[last] = "info has no final_observation"
            compared, ends = compared + 1, ends + int(done[t])
        # A reset is made of a key, which has no last digit: what rounds there is what rounds in the other steps.
        for t, alone, expected in pairs:
            points = {"observation": fresh, "state": fresh} if done[t] else {}
            points["final_observation"] = last
            for what, value in expected.items():
                if difference := first_difference(alone[what], value, slack and slack[what]):
                    failures.setdefault(points.get(what, same), f"step {t}: {what}{difference}")
    note = f"{ends} ends" if ends else f"no episode ended in {len(runs[0].steps.reward)} steps"
    notes = {same: f"{compared} steps", fresh: note, last: note}
    return [Point(name, failures.get(name, ""), notes[name]) for name in (same, fresh, last)]


def _by_name(obs: Any, state: Any, reward: Any, terminated: Any, truncated: Any, info: Any) -> dict[str, Any]:
    """What a step returns, with rewards and ends as EpisodeStatistics makes them."""
    reward, terminated, truncated = (x.reshape(()) if x.size == 1 else x for x in (reward, terminated, truncated))
    return {
        "reward": reward.astype(jnp.float32),
        "terminated": terminated,
        "truncated": truncated,
        "observation": obs,
        "final_observation": info.get("final_observation", {}),
        "state": state,
    }


def check_time_limit(free: Run, limited: Run | None) -> str:
    """Where a time limit ends an episode that would have gone on, it is truncated, not terminated."""
    if never_truncates(free.env):
        return "the environment declares that it never truncates"
    if limited is None:
        return f"no time limit above {TIME_LIMIT} can be set"
    length, truncated = limited.steps.episode_length, limited.steps.truncated
    if _has_default_limit(limited.env):
        require(length.max() <= TIME_LIMIT, f"an episode of {length.max()} steps with {limited.limit}")
        early = truncated & (length < TIME_LIMIT)
        require(not early.any(), f"truncated after {length[early][:1]} steps with {limited.limit}")
    at_limit = TIME_LIMIT - 1
    goes_on = ~free.steps.done[:TIME_LIMIT].any(0) & ~limited.steps.done[:at_limit].any(0)
    folded = goes_on & limited.steps.terminated[at_limit]
    require(
        not folded.any(),
        f"{limited.limit} terminates episodes that would go on; leave it to is_truncated, or declare never_truncates "
        "if it belongs to the task",
    )
    late = goes_on & ~truncated[at_limit]
    require(
        not late.any() or _plays_trials(limited.env),
        f"{limited.limit} does not truncate episodes that go on until then",
    )
    return f"{int(truncated.sum())} truncated with {limited.limit}"


def _has_default_limit(env: Environment) -> bool:
    """Whether `max_steps_in_episode` is compared with `state.time`, as gymnax has it, and a step counts as one."""
    while isinstance(env, Wrapper) and type(env).is_truncated is Wrapper.is_truncated:
        if isinstance(env, ActionRepeat):
            return False
        env = env.env
    return type(env).is_truncated is Environment.is_truncated


def _plays_trials(env: Environment) -> bool:
    """Whether the limit is about attempts, of which a trial may have several."""
    while isinstance(env, Wrapper) and not isinstance(env, Trial):
        env = env.env
    return isinstance(env, Trial)


def check_never_truncates(runs: list[Run]) -> str:
    """Who declares it never does it."""
    truncated, declared = sum(int(run.steps.truncated.sum()) for run in runs), never_truncates(runs[0].env)
    require(not (declared and truncated), f"declared, and {truncated} episodes were truncated")
    return "declared" if declared else f"not declared, {truncated} episodes were truncated"


def check_start_flags(run: Run) -> str:
    """Flags in the observation are 1 in the first one of an episode and 0 in all others, final ones included."""
    names = [name for name in ("start", "trial_start") if isinstance(run.first, Mapping) and name in run.first]
    for name in names:
        require((run.first[name] == 1).all(), f"{name!r} is not 1 after a reset")
        require((run.steps.obs[name] == run.steps.done).all(), f"{name!r} is not 1 at and only at starts")
        require((run.steps.final[name] == 0).all(), f"{name!r} is not 0 in final_observation")
    return ", ".join(names) or "none"


def check_statistics(run: Run) -> str:
    """What `EpisodeStatistics` reports is the sum of the rewards and the number of steps since the last end."""
    total, length = np.zeros(run.steps.done.shape[1]), np.zeros(run.steps.done.shape[1], int)
    for t, done in enumerate(run.steps.done):
        total, length = total + run.steps.reward[t], length + 1
        require((run.steps.episode_length[t] == length).all(), f"step {t}: length {run.steps.episode_length[t]}")
        right = np.isclose(run.steps.episode_return[t], total, rtol=1e-3, atol=1e-3)
        require(right.all(), f"step {t}: return {run.steps.episode_return[t]}, rewards add up to {total}")
        total, length = np.where(done, 0, total), np.where(done, 0, length)
    return f"{int(run.steps.done.sum())} episodes"
