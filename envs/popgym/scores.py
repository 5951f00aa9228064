"""What is known about returns in POPGym: ceilings, and published scores.

Sources of the published scores: the GRU and the best of 13 models of Morad et al. 2023 (POPGym: MMER, the largest mean
return of an epoch, mean of 3 trials of 15 million steps) and the off-policy Transformer of Grigsby et al. 2024 (AMAGO:
best within 15 million steps), all read from the vector figure of the latter, within 0.005. VelocityOnlyCartPole is
younger, and the labyrinths were left out. Random returns are measured, see `envs/random_returns.py`.
"""

from rlformers.envs.spec import Played, Published, Scores

_MORAD = "Morad et al. 2023, MMER of 15M steps, from AMAGO's figure"
_GRIGSBY = "Grigsby et al. 2024, best within 15M steps, from its figure"
# Rules that were mended after these publications; CountRecall with its best return at the time.
_OLD_RULES = {
    "CountRecallEasy": "; under rules whose optimum was 0.962",
    "CountRecallMedium": "; under rules whose optimum was 0.944",
    "CountRecallHard": "; under rules whose optimum was 0.891",
    "MineSweeperEasy": "; under rules with one step more",
    "MineSweeperMedium": "; under rules with one step more",
    "MineSweeperHard": "; under rules with one step more",
}

# Ceiling of Easy, Medium and Hard, and whose it is; computed or played, see tests/envs/test_popgym_experts.py.
_CEILINGS: dict[str, tuple[str, tuple[float, float, float]]] = {
    "RepeatFirst": ("optimum", (1.0, 1.0, 1.0)),
    "RepeatPrevious": ("optimum", (1.0, 1.0, 1.0)),
    "Autoencode": ("optimum", (1.0, 1.0, 1.0)),
    "CountRecall": ("optimum", (1.0, 1.0, 1.0)),
    "HigherLower": ("card counting", (0.527, 0.519, 0.509)),
    "PositionOnlyCartPole": ("optimum", (1.0, 1.0, 1.0)),
    "VelocityOnlyCartPole": ("bound", (1.0, 1.0, 1.0)),
    "NoisyPositionOnlyCartPole": ("bound", (1.0, 1.0, 1.0)),
    "PositionOnlyPendulum": ("state known", (0.911, 0.882, 0.823)),
    "NoisyPositionOnlyPendulum": ("state known", (0.911, 0.911, 0.911)),
    "MultiarmedBandit": ("best arm known", (0.831, 0.914, 0.940)),
    "Concentration": ("perfect memory", (0.816, 0.815, 0.698)),
    "Battleship": ("density hunter", (0.509, 0.581, 0.589)),
    "MineSweeper": ("exact posterior", (0.766, 0.633, 0.686)),
    "LabyrinthExplore": ("maze known", (0.982, 0.957, 0.919)),
    "LabyrinthEscape": ("maze known", (0.979, 0.965, 0.949)),
}
# 0.766 is the optimum, by dynamic programming over beliefs. The 1.5e11 boards of the hard game are too many for either.
# Its bound is that of the first two clicks: see the tests.
_CEILING_OF = {"MineSweeperEasy": "optimum", "MineSweeperHard": "bound"}
# Ceilings that are returns of policies in tests/envs/test_popgym_experts.py, not bounds.
_PLAYED = ("card counting", "perfect memory", "density hunter", "exact posterior")
_EXPERTS = "played: tests/envs/test_popgym_experts.py"
# Easy, Medium, Hard; within 0.002.
_BAYES_UCB = {"MultiarmedBandit": (0.723, 0.822, 0.860)}
# A threshold on the card in view.
_MEMORYLESS = {"HigherLowerEasy": 0.494, "HigherLowerMedium": 0.498, "HigherLowerHard": 0.497}

# GRU, best of 13, its model where it was told, AMAGO.
_PUBLISHED: dict[str, tuple[float, float, str | None, float]] = {
    "AutoencodeEasy": (-0.284, -0.284, "GRU", 0.995),
    "RepeatPreviousEasy": (1.002, 1.002, None, 0.997),
    "RepeatFirstEasy": (0.999, 0.999, None, 0.994),
    "CountRecallEasy": (0.178, 0.509, "LSTM", 0.918),
    "PositionOnlyCartPoleEasy": (0.998, 0.998, None, 0.998),
    "PositionOnlyPendulumEasy": (0.913, 0.913, None, 0.912),
    "NoisyPositionOnlyCartPoleEasy": (0.993, 0.993, "GRU", 0.986),
    "NoisyPositionOnlyPendulumEasy": (0.89, 0.89, None, 0.904),
    "MultiarmedBanditEasy": (0.619, 0.631, "Elman", 0.668),
    "HigherLowerEasy": (0.528, 0.528, "GRU", 0.517),
    "BattleshipEasy": (-0.32, -0.225, None, 0.182),
    "ConcentrationEasy": (-0.039, 0.253, None, 0.31),
    "MineSweeperEasy": (0.694, 0.859, None, 0.74),
    "AutoencodeMedium": (-0.424, -0.419, "IndRNN", 0.992),
    "RepeatPreviousMedium": (-0.315, 0.788, "LMU", 0.994),
    "RepeatFirstMedium": (1.0, 1.0, None, 0.995),
    "CountRecallMedium": (-0.528, -0.519, "PosMLP", 0.899),
    "PositionOnlyCartPoleMedium": (0.999, 0.999, None, 0.999),
    "PositionOnlyPendulumMedium": (0.884, 0.884, None, 0.881),
    "NoisyPositionOnlyCartPoleMedium": (0.644, 0.661, "IndRNN", 0.608),
    "NoisyPositionOnlyPendulumMedium": (0.718, 0.718, None, 0.908),
    "MultiarmedBanditMedium": (0.539, 0.6, "TCN", 0.735),
    "HigherLowerMedium": (0.513, 0.515, "IndRNN", 0.505),
    "BattleshipMedium": (-0.366, -0.336, None, -0.252),
    "ConcentrationMedium": (-0.188, -0.156, None, -0.128),
    "MineSweeperMedium": (-0.006, 0.018, None, 0.009),
    "AutoencodeHard": (-0.455, -0.447, "IndRNN", 0.597),
    "RepeatPreviousHard": (-0.428, 0.191, "LMU", 0.994),
    "RepeatFirstHard": (0.942, 0.971, "IndRNN", 0.997),
    "CountRecallHard": (-0.473, -0.468, "PosMLP/TCN", 0.69),
    "PositionOnlyCartPoleHard": (1.0, 1.0, None, 1.0),
    "PositionOnlyPendulumHard": (0.825, 0.821, None, 0.824),
    "NoisyPositionOnlyCartPoleHard": (0.391, 0.405, "IndRNN", 0.36),
    "NoisyPositionOnlyPendulumHard": (0.656, 0.656, None, 0.902),
    "MultiarmedBanditHard": (0.515, 0.573, "TCN", 0.746),
    "HigherLowerHard": (0.507, 0.51, "IndRNN", 0.504),
    "BattleshipHard": (-0.376, -0.368, None, -0.4),
    "ConcentrationHard": (-0.83, -0.831, None, -0.833),
    "MineSweeperHard": (-0.206, -0.191, None, -0.29),
}


def popgym_scores(name: str) -> Scores:
    """Of an environment by its name without `popgym/`, in its default configuration."""
    family = name.removesuffix("Easy").removesuffix("Medium").removesuffix("Hard")
    level = ("Easy", "Medium", "Hard").index(name.removeprefix(family))
    ceiling_of, ceilings = _CEILINGS[family]
    published: tuple[Published, ...] = ()
    if name in _PUBLISHED:
        gru, best, model, amago = _PUBLISHED[name]
        rules = _OLD_RULES.get(name, "")
        published = (
            Published("GRU", gru, _MORAD + rules, not rules),
            Published("AMAGO", amago, _GRIGSBY + rules, not rules),
        )
        if model != "GRU" and best > gru:
            who = f"best of 13 ({model})" if model else "best of 13"
            published += (Published(who, best, _MORAD + rules, not rules),)
    ceiling, whose = ceilings[level], _CEILING_OF.get(name, ceiling_of)
    played: tuple[Played, ...] = ()
    if whose in _PLAYED:
        played = (Played(whose, ceiling, _EXPERTS),)
    elif family in _BAYES_UCB:
        played = (Played("Bayes-UCB", _BAYES_UCB[family][level], "meta/bandit_policies.py, within 0.002"),)
    return Scores(None, _MEMORYLESS.get(name), ceiling, whose, published, played)
