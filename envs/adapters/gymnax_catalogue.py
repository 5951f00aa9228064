"""gymnax's own environments. Which of them have no time limit by default, see `gymnax_adapter`."""

from collections.abc import Callable

from rlformers.envs.spec import Entry, Scores

# What it asks for, steps of an episode, best return.
GYMNAX_IDS = {
    "CartPole-v1": ("balance a pole; mask the velocities for memory", "8-500", "500"),
    "Pendulum-v1": ("swing up a pendulum with a limited torque", "200", ""),
    "Acrobot-v1": ("swing up a two-link arm", "<=500", ""),
    "MountainCar-v0": ("gather momentum to leave a valley", "<=200", ""),
    "MountainCarContinuous-v0": ("the same with a continuous force", "<=999", ""),
    "Asterix-MinAtar": ("collect gold, avoid enemies; images 10x10", "<=1000", ""),
    "Breakout-MinAtar": ("break bricks with a ball; images 10x10", "<=1000", ""),
    "Freeway-MinAtar": ("cross a road; images 10x10", "2500", ""),
    "Seaquest-MinAtar": ("rescue divers before the oxygen ends; images 10x10", "<=1000", ""),
    "SpaceInvaders-MinAtar": ("shoot the advancing aliens; images 10x10", "<=1000", ""),
    "Catch-bsuite": ("catch a falling ball", "9", "1"),
    "DeepSea-bsuite": ("deep exploration: one path of many pays", "8", "0.99"),
    "MemoryChain-bsuite": ("recall a bit after memory_length steps; memory/MemoryChain is the same, adapted", "6", "1"),
    "UmbrellaChain-bsuite": ("credit for a choice chain_length steps ago", "10", "1 on average"),
    "DiscountingChain-bsuite": ("choose among rewards of different delay", "100", "1.1"),
    "MNISTBandit-bsuite": ("classify digits by trial; downloads MNIST", "1", "1"),
    "SimpleBandit-bsuite": ("bandit of 11 arms, always the same", "1", "1"),
    "FourRooms-misc": ("find a goal in four rooms", "<=500", "1"),
    "MetaMaze-misc": ("meta-RL: a hidden goal in a maze, many visits per episode", "<=200", ""),
    "PointRobot-misc": ("meta-RL: a hidden goal on a circle; compare meta/PointRobot", "100", ""),
    "BernoulliBandit-misc": ("meta-RL: bandit of two arms, p or 1 - p", "100", "<90"),
    "GaussianBandit-misc": ("meta-RL: a safe and a gaussian arm", "100", ""),
    "Reacher-misc": ("reach a target with a jointed arm", "100", ""),
    "Swimmer-misc": ("collect targets, avoid urchins", "500", ""),
    "Pong-misc": ("pong against a simple opponent; images 30x40", "<=1000", ""),
    "FrozenLake-misc": ("cross slippery ice; integer observations", "<=100", ""),
}

# The horizon belongs to the task: a machine is pulled 100 times, a maze or a half circle is explored for one trial, a
# chain pays within 100 steps (bsuite's own episodes end there, too), and a game of Freeway takes 2500 frames (MinAtar's
# clock ends it). The limits of all others merely stop the clock.
FINITE_HORIZONS = (
    "BernoulliBandit-misc",
    "GaussianBandit-misc",
    "MetaMaze-misc",
    "PointRobot-misc",
    "DiscountingChain-bsuite",
    "Freeway-MinAtar",
)

# Which entries of the observation are velocities, for wrap.mask=velocities.
VELOCITIES = {
    "CartPole-v1": (1, 3),
    "Pendulum-v1": (2,),
    "Acrobot-v1": (4, 5),
    "MountainCar-v0": (1,),
    "MountainCarContinuous-v0": (1,),
}


def _ceiling(best: str) -> Callable[[], Scores] | None:
    """A bare number is the return of the best policy; the rest is words about it."""
    return (lambda: Scores(ceiling=float(best))) if best.replace(".", "").isdecimal() else None


ENTRIES = tuple(
    Entry(
        f"gymnax/{name}",
        summary,
        "rlformers.envs.adapters.gymnax_env:make_gymnax",
        {"env_id": name},
        length=length,
        best=best,
        scores=_ceiling(best),
        truncation="terminates" if name in FINITE_HORIZONS else "bootstraps",
    )
    for name, (summary, length, best) in GYMNAX_IDS.items()
)
