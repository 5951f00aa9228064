"""From a configuration to the numbers that a program takes."""

from dataclasses import asdict

import pytest

from rlformers.config.ppo import NUMBER_KEYS, Numbers, PPOConfig


def test_every_number_is_the_one_of_the_configuration():
    values = {key.removeprefix("ppo."): 0.01 * i for i, key in enumerate(NUMBER_KEYS, 1)}
    config = PPOConfig(**values)
    numbers = Numbers.of(config, 7)._asdict()
    assert numbers.pop("num_updates") == 7
    assert numbers == {name: asdict(config)[name] for name in numbers} and set(numbers) == set(values)


@pytest.mark.parametrize(("given", "high"), [(None, 0.1), (0.3, 0.3)])
def test_the_upper_clip_is_the_lower_one_unless_it_is_given(given, high):
    numbers = Numbers.of(PPOConfig(clip_eps=0.1, clip_eps_high=given), 1)
    assert (numbers.clip_eps, numbers.clip_eps_high) == (0.1, high)
