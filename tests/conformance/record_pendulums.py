"""Record pendulums that are swung up and balanced: `python tests/conformance/record_pendulums.py FILE.npz`.

The physics is gymnasium's in float64; what popgym 1.0.7 adds to it (MIT, `position_only_pendulum.py`,
`noisy_position_only_pendulum.py`) is written again here, so that popgym need not be installed. FILE is laid out like
tests/data/popgym/popgym_trajectories.npz; the noisy pendulums are recorded as experts.
"""

import sys

import numpy as np
from gymnasium.envs.classic_control import PendulumEnv

SEEDS, LENGTH, NOISE = (0, 3), 200, 0.1
WORST = 16.2736044  # popgym's largest cost of a step


def swing_up_and_balance(theta: float, theta_dot: float) -> np.ndarray:
    """The torque of a player who knows the state: pump energy until upright, then proportional-derivative control."""
    angle = (theta + np.pi) % (2 * np.pi) - np.pi
    missing = 15 - (theta_dot**2 / 2 + 15 * np.cos(theta))  # energy; upright and at rest it is 3 g / 2 l = 15
    torque = -10 * angle - 3 * theta_dot if abs(angle) < 0.4 and abs(theta_dot) < 2 else missing * np.sign(theta_dot)
    return np.clip([torque], -2, 2).astype(np.float32)


def play(seed: int, noise: float) -> dict[str, np.ndarray]:
    """An episode, mostly of the player who knows, as the arrays of the layout."""
    env, rng = PendulumEnv(), np.random.default_rng(seed)

    def shown(obs: np.ndarray) -> np.ndarray:
        return np.clip(obs[:2] + rng.normal(0, noise, 2).astype(np.float32), -1, 1)

    obs, start = [shown(env.reset(seed=seed)[0])], env.state
    actions, rewards, states = [], [], []
    for _ in range(LENGTH):
        forgets = rng.random() < 0.05
        actions.append(rng.uniform(-2, 2, 1).astype(np.float32) if forgets else swing_up_and_balance(*env.state))
        full, reward, *_ = env.step(actions[-1])
        obs.append(shown(full))
        rewards.append((reward + WORST / 2) / (WORST / 2) / LENGTH)
        states.append(env.state)
    arrays = {"obs": obs, "action": actions, "reward": rewards, "h_states": states}
    return {key: np.array(value, np.float32) for key, value in arrays.items()} | {"h_state0": start}


def record() -> dict[str, np.ndarray]:
    """All arrays of the file."""
    data = {}
    for prefix, noise in (("PositionOnlyPendulumEasy", 0.0), ("NoisyPositionOnlyPendulumEasy/expert", NOISE)):
        played = [play(seed, noise) for seed in SEEDS]
        data[f"{prefix}/T"] = np.full(len(SEEDS), LENGTH, np.int16)
        data[f"{prefix}/end"] = np.array([[False, True]] * len(SEEDS))
        data[f"{prefix}/h_state0"] = np.stack([episode["h_state0"] for episode in played])
        for key in ("obs", "action", "reward") + (("h_states",) if noise else ()):
            data[f"{prefix}/{key}"] = np.concatenate([episode[key] for episode in played])
    return data


if __name__ == "__main__":
    np.savez_compressed(sys.argv[1], **record())
