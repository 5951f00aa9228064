"""Continuous control of other packages, and whatever Gymnasium has. Docs: docs/envs/control.md."""

from rlformers.envs.spec import Entry

_ADAPTERS = "rlformers.envs.adapters"

# What it asks for, steps of an episode.
BRAX_IDS = {
    "ant": ("run with four legs", "<=1000"),
    "fast": ("Brax's test of itself: push to the right", "1000"),
    "halfcheetah": ("run in a plane", "1000"),
    "hopper": ("hop in a plane", "<=1000"),
    "humanoid": ("run with two legs", "<=1000"),
    "humanoidstandup": ("stand up", "1000"),
    "inverted_pendulum": ("balance a pole on a cart", "<=1000"),
    "inverted_double_pendulum": ("balance two poles, one on the other", "<=1000"),
    "pusher": ("push an object to a goal with an arm", "1000"),
    "reacher": ("reach a target with a jointed arm", "1000"),
    "walker2d": ("walk in a plane", "<=1000"),
}
# The control suite of MuJoCo Playground; all pay at most 1 per step for 1000 steps.
PLAYGROUND_IDS = {
    "AcrobotSwingup": "swing up two links by their elbow",
    "AcrobotSwingupSparse": "the same, paid at the top only",
    "BallInCup": "catch a ball on a string",
    "CartpoleBalance": "balance a pole",
    "CartpoleBalanceSparse": "the same, paid near the middle only",
    "CartpoleSwingup": "swing up a pole and balance it",
    "CartpoleSwingupSparse": "the same, paid at the top only",
    "CheetahRun": "run in a plane; its resets simulate 200 steps",
    "FingerSpin": "spin a body by flicking it",
    "FingerTurnEasy": "turn a body to a large target",
    "FingerTurnHard": "turn a body to a small target",
    "FishSwim": "swim to a target",
    "HopperHop": "hop fast",
    "HopperStand": "stand on one leg",
    "HumanoidRun": "run",
    "HumanoidStand": "stand",
    "HumanoidWalk": "walk",
    "PendulumSwingup": "swing up a pendulum with a limited torque",
    "PointMass": "push a mass to the middle",
    "ReacherEasy": "reach a large target with two links",
    "ReacherHard": "reach a small target with two links",
    "SwimmerSwimmer6": "swim to a target with six links",
    "WalkerRun": "run in a plane",
    "WalkerStand": "stand in a plane",
    "WalkerWalk": "walk in a plane",
}

ENTRIES: tuple[Entry, ...] = (
    *(
        Entry(
            f"brax/{name}", summary, f"{_ADAPTERS}.brax_state:make_brax", {"env_id": name}, length=length, extra="brax"
        )
        for name, (summary, length) in BRAX_IDS.items()
    ),
    *(
        Entry(
            f"playground/{name}",
            summary,
            f"{_ADAPTERS}.brax_state:make_playground",
            {"env_id": name},
            length="1000",
            best="<1000",
            extra="playground",
        )
        for name, summary in PLAYGROUND_IDS.items()
    ),
    Entry(
        "playground/PointMassHard",
        "push a mass to the middle with motors whose directions each episode draws",
        f"{_ADAPTERS}.brax_state:make_playground",
        {"env_id": "PointMassHard"},
        length="1000",
        best="<1000",
        extra="playground",
    ),
    Entry(
        "playground/Meta12x2",
        "meta-RL: several tasks with unknown sensors [12] and motors [2], one episode each (Lu et al. 2023)",
        f"{_ADAPTERS}.playground_meta:make_meta12x2",
        length="1000",
        best="<1000",
        extra="playground",
    ),
    Entry(
        "gymnasium/*",
        "any id of Gymnasium, e.g. gymnasium/CartPole-v1; SLOW: on the host, one copy after the other",
        f"{_ADAPTERS}.host.environment:GymnasiumHost",
        extra="gymnasium",
    ),
)
