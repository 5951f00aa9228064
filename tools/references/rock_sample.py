"""RockSample: the optimum with known rocks, and a policy that visits them all."""

import numpy as np
from jaxtyping import Float, Int

from rlformers.envs.memory.rock_sample import MOVES, REWARD, SAMPLE, RockSample


def mean_discounted_return(env: RockSample, discount: float) -> float:
    """Expected discounted return of the best policy that knows which rocks are good, over rocks and starts.

    Held & Karp's dynamic programme over (good rocks left, where the rover is), exact; 2^K K^2
    steps. The first reward is not discounted. Without a discount it is 10 + 5 K, if time allows. A
    policy that has to check gets as much, because a check at the rock's place is always right.
    """
    apart = np.abs(env.places[:, None] - env.places).sum(-1)  # [K, K] moves
    value = _from_rocks(env, apart, discount)  # [2^K, K] after the rock was sampled
    cells = np.stack(np.divmod(np.arange(env.size * (env.size - 1)), env.size - 1), axis=1)
    leave = REWARD * discount ** (env.size - 2.0 - cells[:, 1])
    best = np.repeat(leave[None], len(value), 0)  # [2^K, starts]
    for rock in range(env.rocks):
        steps = np.abs(cells - env.places[rock]).sum(1)  # moves, then a step to sample
        has = (np.arange(len(value)) >> rock) & 1 == 1
        then = discount * value[np.flatnonzero(has) ^ (1 << rock), rock]
        best[has] = np.maximum(best[has], discount**steps * (REWARD + then[:, None]))
    return float(best.mean())


def _from_rocks(env: RockSample, apart: Int[np.ndarray, "K K"], discount: float) -> Float[np.ndarray, "sets K"]:
    sets = 1 << env.rocks
    leave = REWARD * discount ** (env.size - 2.0 - env.places[:, 1])
    value = np.repeat(leave[None], sets, 0)
    numbers = np.arange(sets)
    size = np.array([bin(number).count("1") for number in numbers])
    for count in range(1, env.rocks + 1):
        for rock in range(env.rocks):
            now = numbers[(size == count) & ((numbers >> rock) & 1 == 1)]
            then = REWARD + discount * value[now ^ (1 << rock), rock]
            value[now] = np.maximum(value[now], then[:, None] * discount ** apart[:, rock].astype(float))
    return value


def visit_all(env: RockSample, observations: list[Float[np.ndarray, " D"]], actions: list[int]) -> int:
    """The next action of a policy that goes to the nearest unchecked rock, checks it there, and samples a good one.

    It reads what was observed and done in this episode alone. Return 10 + 10 for every good rock.
    """
    row, column = (int(part.argmax()) for part in np.split(observations[-1][: 2 * env.size], 2))
    if actions and actions[-1] > SAMPLE and observations[-1][2 * env.size :].max() > 0:
        return SAMPLE
    left = [rock for rock in range(env.rocks) if SAMPLE + 1 + rock not in actions]
    if not left:
        return 1
    distances = np.abs(env.places[left] - (row, column)).sum(1)
    rock = left[int(distances.argmin())]
    if distances.min() == 0:
        return SAMPLE + 1 + rock
    down, east = env.places[rock] - (row, column)
    # The last column ends the episode; no rock lies there, so that no way to one leads there.
    move = (np.sign(down), 0) if down else (0, np.sign(east))
    return int((np.array(move) == MOVES).all(1).argmax())
