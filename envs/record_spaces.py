"""Writes `spaces.json`, from which `rlformers list envs` takes the spaces without importing jax.

    python -m rlformers.envs.record_spaces

Environments that are not installed keep the line they have.
"""

import json
from pathlib import Path

from rlformers.envs import spaces
from rlformers.envs.listing import stored_spaces
from rlformers.envs.registry import BUILT_IN, make_env
from rlformers.envs.wrappers.agent_inputs import is_packed
from rlformers.envs.wrappers.observation_wrapper import take


def describe(env_id: str) -> dict[str, str]:
    """The spaces of an environment in words: what it shows, without previous action, reward and flags.

    Raises:
        ValueError: It is not installed, or unknown.
    """
    if env_id.endswith("/*"):
        return {"observation": "its own", "action": "its own"}
    env, params = make_env(env_id, raw=True)
    observation = take(env.observation_space(params), is_packed(env))
    return {"observation": spaces.text(observation), "action": spaces.text(env.action_space(params))}


def main() -> None:
    """Write the file."""
    stored, lines = stored_spaces(), []
    for env_id in BUILT_IN:
        try:
            line = describe(env_id)
        except ValueError as error:
            print(error)
            if env_id not in stored:
                continue
            line = stored[env_id]
        lines.append(f"  {json.dumps(env_id)}: {json.dumps(line)}")
    Path(__file__).with_name("spaces.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
