"""One picture per step: the environment, the observation, the policy, value, reward and return."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from rlformers.envs.rendering.render import draw_observation, has_picture, render
from rlformers.experiment.evaluation.evaluate import Trained
from rlformers.experiment.inspection.episode_trace import Watched, attempts, episode_numbers, returns_so_far
from rlformers.experiment.inspection.step_text import choices, gaussian
from rlformers.experiment.reports.figure_grid import COLOURS, STYLE

SIZE = (8.4, 5.0)  # inches, at 100 pixels each
BLUE, ORANGE, GREEN = COLOURS[:3]


def frames(trained: Trained, watched: Watched, title: str) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Draw every step.

    Args:
        trained: The agent and its environment.
        watched: The steps.
        title: The title of all pictures.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    env, env_params = trained.built.env, trained.built.env_params
    state, obs = jax.tree.map(lambda leaf: leaf[0], (watched.env_state, watched.obs))
    drawn = has_picture(env, state, env_params)
    episode, attempt = episode_numbers(watched), attempts(trained, watched)
    in_episode = np.arange(len(episode)) - np.flatnonzero(watched.start)[episode]
    with matplotlib.rc_context(STYLE | {"font.size": 9, "axes.titlesize": 10}):
        figure = Figure(figsize=SIZE, dpi=100, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        grid = figure.add_gridspec(2, 3, height_ratios=(1.5, 1))
        heading = figure.suptitle(title + "\n ", fontsize=11, animated=True)
        pictures = []
        if drawn:
            first = _state_picture(env, state, env_params, obs)
            pictures.append((_picture(figure.add_subplot(grid[0, 0]), "environment", first), _state_picture))
            pictures.append((_picture(figure.add_subplot(grid[0, 1]), "observation", draw_observation(obs)), _obs))
            policy_panel = figure.add_subplot(grid[0, 2])
        else:
            pictures.append((_picture(figure.add_subplot(grid[0, 0]), "observation", draw_observation(obs)), _obs))
            policy_panel = figure.add_subplot(grid[0, 1:])
        policy = _Policy(policy_panel, trained.agents.policy, watched)
        ppo = trained.config.ppo
        value = "value (of scaled rewards)" if ppo.normalize_rewards or ppo.reward_scale != 1 else "value"
        lines = [
            _Curve(figure.add_subplot(grid[1, 0]), value, watched.value, BLUE, watched.start),
            _Curve(figure.add_subplot(grid[1, 1]), "reward", watched.reward, ORANGE, watched.start),
            _Curve(figure.add_subplot(grid[1, 2]), "return so far", returns_so_far(watched), GREEN, watched.start),
        ]
        canvas.draw()
        background = canvas.copy_from_bbox(figure.bbox)  # everything that does not change, drawn once
        for t in range(len(episode)):
            state, obs = jax.tree.map(lambda leaf, t=t: leaf[t], (watched.env_state, watched.obs))
            words = [f"episode {episode[t] + 1}"] + ([] if attempt is None else [f"attempt {attempt[t]}"])
            heading.set_text(f"{title}\n{', '.join(words)}, step {in_episode[t] + 1}")
            for picture, draw in pictures:
                picture.set_data(draw(env, state, env_params, obs))
            artists = [heading, *(picture for picture, _ in pictures), *policy.show(t)]
            artists += [artist for line in lines for artist in line.show(t)]
            canvas.restore_region(background)
            for artist in artists:
                (artist.axes or figure).draw_artist(artist)
            yield np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _state_picture(env: Any, state: Any, params: Any, obs: Any) -> np.ndarray:
    return render(env, jax.tree.map(jnp.asarray, state), params, obs)  # `render` of an environment expects jax arrays


def _obs(env: Any, state: Any, params: Any, obs: Any) -> np.ndarray:
    return draw_observation(obs)


def _picture(panel: Any, title: str, first: np.ndarray) -> Any:
    """What is drawn anew in every step, as wide and high as the first picture."""
    panel.set_title(title)
    panel.set_axis_off()
    return panel.imshow(np.full_like(first, 255), animated=True)


class _Policy:
    """Probabilities as bars, or means with one standard deviation. The action taken is orange."""

    def __init__(self, panel: Any, policy: Any, watched: Watched):
        from matplotlib.ticker import MaxNLocator

        self.panel, self.watched = panel, watched
        probabilities = choices(policy, watched.policy)
        self.discrete = probabilities is not None
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        if probabilities is not None:
            self.heights = np.concatenate(probabilities, axis=-1)
            sizes = [part.shape[-1] for part in probabilities]
            # Choices are side by side with a gap between them.
            places = np.arange(sum(sizes)) + np.repeat(np.arange(len(sizes)), sizes)
            taken = np.atleast_2d(watched.raw_action.T).T + np.cumsum([0, *sizes[:-1]])
            self.taken = np.array([np.isin(np.arange(sum(sizes)), row) for row in taken])
            self.bars = panel.bar(places, self.heights[0], width=0.85, animated=True)
            panel.set_ylim(0, 1)
            panel.set_title("probabilities (orange: taken)")
            panel.set_xlabel("action" if len(sizes) == 1 else f"actions of the {len(sizes)} choices, side by side")
            if sum(sizes) <= 20:
                panel.set_xticks(places, [str(i) for size in sizes for i in range(size)])
            else:
                panel.set_xticks([])
            return
        self.mean, self.std = gaussian(watched.policy)
        dims = np.arange(self.mean.shape[-1])
        self.bars = panel.vlines(dims, self.mean[0], self.mean[0], color=BLUE, linewidth=6, alpha=0.5, animated=True)
        (self.dots,) = panel.plot(dims, self.mean[0], "o", color=BLUE, animated=True)
        (self.marks,) = panel.plot(dims, self.mean[0], "D", color=ORANGE, animated=True)
        edges = [self.mean - self.std, self.mean + self.std, watched.raw_action]
        low, high = min(edge.min() for edge in edges), max(edge.max() for edge in edges)
        margin = 0.05 * (high - low)
        panel.set_ylim(low - margin, high + margin)
        panel.set_xlim(-0.5, len(dims) - 0.5)
        panel.set_title("mean ± std (orange: taken)")
        panel.set_xlabel("dimension, before the bounds")
        panel.set_xticks(dims if len(dims) <= 12 else [])

    def show(self, t: int) -> list[Any]:
        if self.discrete:
            for bar, height, taken in zip(self.bars, self.heights[t], self.taken[t], strict=True):
                bar.set_height(height)
                bar.set_color(ORANGE if taken else BLUE)
            return list(self.bars)
        mean, std = self.mean[t], self.std[t]
        self.bars.set_segments([[(i, m - s), (i, m + s)] for i, (m, s) in enumerate(zip(mean, std, strict=True))])
        self.dots.set_ydata(mean)
        self.marks.set_ydata(self.watched.raw_action[t])
        return [self.bars, self.dots, self.marks]


class _Curve:
    """A curve in grey, its past in colour and its present as a dot. Starts are dotted lines."""

    def __init__(self, panel: Any, title: str, values: np.ndarray, colour: str, start: np.ndarray):
        from matplotlib.ticker import MaxNLocator

        steps = np.arange(1, len(values) + 1)
        # The curve has a gap between the end of an episode and the beginning of the next.
        cuts = np.flatnonzero(start[1:]) + 1
        self.x, self.y = np.insert(steps.astype(float), cuts, np.nan), np.insert(values.astype(float), cuts, np.nan)
        panel.set_title(title)
        panel.set_xlabel("step")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.plot(self.x, self.y, color="0.8", linewidth=1.2)
        for cut in cuts:
            panel.axvline(cut + 0.5, color="0.5", linewidth=0.8, linestyle=":")
        (self.line,) = panel.plot([], [], color=colour, linewidth=1.6, animated=True)
        (self.dot,) = panel.plot([], [], "o", color=colour, markersize=5, animated=True)

    def show(self, t: int) -> list[Any]:
        past = int(np.flatnonzero(self.x == t + 1)[0]) + 1
        self.line.set_data(self.x[:past], self.y[:past])
        self.dot.set_data(self.x[past - 1 : past], self.y[past - 1 : past])
        return [self.line, self.dot]
