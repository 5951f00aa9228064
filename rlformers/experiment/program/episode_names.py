"""Names for the numbers that an environment reports about its episodes, as `info["episode_<name>"]`."""

from typing import Any

import jax

from rlformers.errors import UserError

OWN = ("return", "length", "count")  # the learner's
TRIAL = ("attempt_return", "attempt_count")  # float32 [K] each, where episodes are trials


def check_episode_names(env_id: str, env: Any, params: Any) -> None:
    """Check that the names of the numbers that an environment reports have no other meaning.

    Args:
        env_id: Its id.
        env: A gymnax 1.x environment.
        params: Its params.

    Raises:
        UserError: A name is reserved, or two numbers would get the same name; one line that says
            which.
    """

    def last_info(key: Any) -> dict[str, Any]:
        _, state = env.reset(key, params)
        return env.step(key, state, env.action_space(params).sample(key), params)[-1]

    info = jax.eval_shape(last_info, jax.random.key(0))
    found = {name.removeprefix("episode_"): value for name, value in info.items() if name.startswith("episode_")}
    shapes = [getattr(found.get(name), "shape", None) for name in TRIAL]
    is_trial = shapes[0] is not None and len(shapes[0]) == 1 and shapes[0] == shapes[1]
    columns: dict[str, str] = {}
    for name, value in found.items():
        reserved = name in OWN or (name == "task" and not is_trial)
        if reserved or (name.startswith("attempt_") and not (is_trial and name in TRIAL)):
            allowed = f"{', '.join(f'episode_{each}' for each in (*OWN, 'task', 'attempt_*'))} are the learner's own"
            raise UserError(f"env: {env_id} reports info['episode_{name}'], but {allowed}; give it another name")
        if name in TRIAL:
            continue
        shape: tuple[int, ...] = getattr(value, "shape", ())
        for column in [f"{name}_{k}" for k in range(1, shape[0] + 1)] if len(shape) == 1 else [name]:
            if column in columns:
                both = f"info['episode_{columns[column]}'] and info['episode_{name}']"
                raise UserError(f"env: {env_id} reports {both}, which would both be episode/{column}; rename one")
            columns[column] = name
