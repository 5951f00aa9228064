"""gymnax's own environments. Which of them end by themselves, see `gymnax_adapter`."""

from rlformers.envs.entry import Entry

GYMNAX_IDS = {
    "CartPole-v1": "balance a pole; mask the velocities for memory",
    "Pendulum-v1": "swing up a pendulum with a limited torque",
    "Acrobot-v1": "swing up a two-link arm",
    "MountainCar-v0": "gather momentum to leave a valley",
    "MountainCarContinuous-v0": "the same with a continuous force",
    "Asterix-MinAtar": "collect gold, avoid enemies; images 10x10",
    "Breakout-MinAtar": "break bricks with a ball; images 10x10",
    "Freeway-MinAtar": "cross a road; images 10x10",
    "Seaquest-MinAtar": "rescue divers before the oxygen ends; images 10x10",
    "SpaceInvaders-MinAtar": "shoot the advancing aliens; images 10x10",
    "Catch-bsuite": "catch a falling ball",
    "DeepSea-bsuite": "deep exploration: one path of many pays",
    "MemoryChain-bsuite": "recall a bit after memory_length steps (never truncated)",
    "UmbrellaChain-bsuite": "credit for a choice chain_length steps ago (never truncated)",
    "DiscountingChain-bsuite": "choose among rewards of different delay",
    "MNISTBandit-bsuite": "classify digits by trial; downloads MNIST",
    "SimpleBandit-bsuite": "bandit of 11 arms, always the same",
    "FourRooms-misc": "find a goal in four rooms",
    "MetaMaze-misc": "meta-RL: a hidden goal in a maze, many visits per episode",
    "PointRobot-misc": "meta-RL: a hidden goal on a half circle",
    "BernoulliBandit-misc": "meta-RL: bandit of two arms, p or 1 - p",
    "GaussianBandit-misc": "meta-RL: a safe and a gaussian arm",
    "Reacher-misc": "reach a target with a jointed arm",
    "Swimmer-misc": "collect targets, avoid urchins",
    "Pong-misc": "pong against a simple opponent; images 30x40",
    "FrozenLake-misc": "cross slippery ice; integer observations",
}

# Which entries of the observation are velocities, for wrap.mask=velocities.
VELOCITIES = {
    "CartPole-v1": (1, 3),
    "Pendulum-v1": (2,),
    "Acrobot-v1": (4, 5),
    "MountainCar-v0": (1,),
    "MountainCarContinuous-v0": (1,),
}

ENTRIES = tuple(
    Entry(f"gymnax/{name}", summary, "rlformers.envs.gymnax_adapter:make_gymnax", {"env_id": name})
    for name, summary in GYMNAX_IDS.items()
)
