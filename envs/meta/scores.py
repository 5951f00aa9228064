"""What is known about returns of trials in the default configurations; docs/meta-rl.md says of whom."""

from rlformers.envs.spec import Played, Published, Scores

_LU = "Lu et al. 2023, sum over the 16 attempts of a trial after about 760 updates; read from a figure"
_BANDITS = "bandit_policies.py, 16,000 trials, within 0.4"
_CHANGING = "changing_bandit_policies.py, 16,000 trials, within 0.3"
_MDPS = "mdp_policies.py"


def bernoulli_bandit() -> Scores:
    """Ten uniform chances: the best is 10/11 on average."""
    played = (("Gittins index", 83.7), ("Bayes-UCB", 83.6), ("greedy", 79.6), ("Thompson sampling", 77.1))
    return Scores(50.0, None, 1000 / 11, "best arm known", played=_played(_BANDITS, *played))


def gaussian_bandit() -> Scores:
    """The best of ten standard normal means is 1.539 on average."""
    played = (("Gittins index", 129.4), ("Bayes-UCB", 129.2), ("Thompson sampling", 115.9), ("greedy", 96.7))
    return Scores(0.0, None, 153.9, "best arm known", played=_played(_BANDITS, *played))


def dark_room() -> Scores:
    """16.5 an attempt."""
    return Scores(ceiling=82.5, ceiling_of="goal known")


def dark_room_hard() -> Scores:
    """1 an attempt."""
    return Scores(ceiling=5.0, ceiling_of="goal known")


def dark_key_to_door() -> Scores:
    """Exact: `references.dark_key_to_door_known_task`."""
    return Scores(ceiling=91.1, ceiling_of="key and door known")


def point_robot() -> Scores:
    """13.4 an attempt."""
    return Scores(ceiling=66.9, ceiling_of="goal known")


def projected_cartpole() -> Scores:
    """1 an attempt."""
    return Scores(ceiling=8.0, ceiling_of="bound")


def projected_cartpole_lu2023() -> Scores:
    """1 an attempt."""
    return Scores(ceiling=16.0, ceiling_of="bound")


def projected_cartpole_popjaxrl() -> Scores:
    """1 an attempt; published with this protocol."""
    values = (("S5", 6.83), ("GRU", 5.9), ("MLP", 2.87))
    return Scores(
        ceiling=16.0, ceiling_of="bound", published=tuple(Published(who, value, _LU) for who, value in values)
    )


def alchemy() -> Scores:
    """Within 0.8: `alchemy_oracle.alchemy_known_chemistry`."""
    return Scores(ceiling=288.3, ceiling_of="chemistry known")


def non_stationary_bandit() -> Scores:
    """The best of five uniform chances is 5/6 on average, and so it is after every jump."""
    played = (
        ("UCB on the exact posterior", 148.0),
        ("sliding-window UCB", 140.1),
        ("discounted Thompson sampling", 133.9),
    )
    return Scores(100.0, None, 1000 / 6, "best arm of every step known", played=_played(_CHANGING, *played))


def adversarial_bandit() -> Scores:
    """Within 0.2: `changing_bandit_policies.policy_returns`."""
    played = (("settle for enough", 149.0), ("follow the leader", 99.3), ("Exp3.S", 90.2), ("Exp3", 85.9))
    return Scores(ceiling=160.8, ceiling_of="plan known", played=_played(_CHANGING, *played))


def two_step() -> Scores:
    """Within 0.1: `two_step_policies.model_based`; a random choice finds the good place half of the time."""
    played = (("model-based", 70.6), ("model-free", 65.2))
    return Scores(random=50.0, ceiling=70.6, played=_played("two_step_policies.py, within 0.1", *played))


def harlow(episodes: int = 6) -> Scores:
    """One guess, and knowledge: `harlow.errorless_after_one`. Without memory every choice is a guess."""
    return Scores(random=episodes / 2, memoryless=episodes / 2, ceiling=episodes - 0.5)


def tabular_mdp(episodes: int = 10) -> Scores:
    """21.84 and 10 an attempt, within 0.03: `mdp_policies.known_process` and `chance`."""
    published = {10: 156.2, 25: 445.7, 50: 936.1}.get(episodes)
    table = (Published("RL2", published, "Duan et al. 2016, table 2"),) if published else ()
    sampled = {10: 134.1, 25: 403.9, 50: 903.6}.get(episodes)
    played = _played(f"{_MDPS}, within 1.5 in 10 attempts", ("posterior sampling", sampled)) if sampled else ()
    return Scores(10.0 * episodes, None, 21.84 * episodes, "process known", table, played)


def any_mdp() -> Scores:
    """58.9 an attempt, within 0.9: `mdp_policies.known_process`."""
    played = _played(f"{_MDPS}, with a rough prior, within 8.7", ("posterior sampling", 27.4))
    return Scores(ceiling=471.0, ceiling_of="process known", played=played)


def _played(source: str, *returns: tuple[str, float]) -> tuple[Played, ...]:
    return tuple(Played(who, value, source) for who, value in returns)
