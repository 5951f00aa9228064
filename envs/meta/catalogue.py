"""The meta-RL environments. An episode of each is a trial: several attempts at one hidden task."""

from rlformers.envs.entry import Entry
from rlformers.envs.meta import scores

_META = "rlformers.envs.meta"

ENTRIES: tuple[Entry, ...] = (
    Entry(
        "meta/BernoulliBandit",
        "pull 10 arms of unknown chances 100 times",
        f"{_META}.bandits:make_bernoulli_bandit",
        {"episodes": 1},
        length="100",
        scores=scores.bernoulli_bandit,
        best="more than Thompson's 77.0",
    ),
    Entry(
        "meta/GaussianBandit",
        "pull 10 arms of unknown means 100 times",
        f"{_META}.bandits:make_gaussian_bandit",
        {"episodes": 1},
        length="100",
        scores=scores.gaussian_bandit,
    ),
    Entry(
        "meta/DarkRoom",
        "find an invisible goal in 9x9 cells, 5 attempts of 20 steps",
        f"{_META}.dark_room:make_dark_room",
        {"episodes": 5},
        length="100",
        scores=scores.dark_room,
        best="82.5 with known goals",
    ),
    Entry(
        "meta/DarkRoomHard",
        "the same in 17x17 cells; the goal pays once per attempt",
        f"{_META}.dark_room:make_dark_room",
        {"episodes": 5, "size": 17, "once": True},
        length="100",
        scores=scores.dark_room_hard,
        best="5 with known goals",
    ),
    Entry(
        "meta/DarkKeyToDoor",
        "find an invisible key, then a door, as often as 500 steps allow",
        f"{_META}.dark_key_to_door:make_dark_key_to_door",
        {"steps": 500},
        length="500",
    ),
    Entry(
        "meta/PointRobot",
        "find a goal on a half circle with continuous actions, 5 attempts of 20 steps",
        f"{_META}.point_robot:make_point_robot",
        {"episodes": 5},
        length="100",
        scores=scores.point_robot,
    ),
    Entry(
        "meta/ProjectedCartPole",
        "balance with unknown sensors and motors, 8 attempts of 50 steps",
        f"{_META}.projected_cartpole:make_projected_cartpole",
        {"episodes": 8},
        length="64-400",
        scores=scores.projected_cartpole,
        best="8",
    ),
    Entry(
        "meta/ProjectedCartPoleLu2023",
        "the paper's protocol: 16 attempts of 200 steps, no previous action",
        f"{_META}.projected_cartpole:make_projected_cartpole",
        {
            "episodes": 16,
            "max_steps_in_episode": 200,
            "rescale": False,
            "inputs": ("previous_reward", "episode_end"),
        },
        length="128-3200",
        scores=scores.projected_cartpole_lu2023,
        best="16",
    ),
    Entry(
        "meta/ProjectedCartPolePopjaxrl",
        "that of the paper's code: attempts of a trial start alike, actions stay, no reward is seen",
        f"{_META}.projected_cartpole:make_projected_cartpole",
        {
            "episodes": 16,
            "max_steps_in_episode": 200,
            "rescale": False,
            "project_actions": False,
            "inner_reset": "same",
            "inputs": ("previous_action", "episode_end", "trial_start"),
        },
        length="128-3200",
        scores=scores.projected_cartpole_popjaxrl,
        best="16",
    ),
    Entry(
        "meta/Alchemy",
        "discover what potions do to stones, symbolic, 10 attempts of 20 steps",
        f"{_META}.alchemy:make_alchemy",
        {"episodes": 10},
        length="200",
    ),
)
