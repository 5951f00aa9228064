"""The environments by name. Importing this module imports neither jax nor gymnax, so that listing them is instant.

Ids are `suite/Name`. Other packages add theirs with `register_env`, or without being imported through the entry-point
group `rlformers.envs`, e.g. in their pyproject.toml

    [project.entry-points."rlformers.envs"]
    "mine/Maze" = "my_package.maze:Maze"

where the object is called with `env_kwargs` and returns an `Environment`. Or it is an `Entry` (`rlformers.envs.spec`),
which says more about it: arguments, length, scores, what its truncations are. Its name is that of the entry point.

An id that ends in `/*` stands for all that begin like it: `suite/Any-Name` is built with `env_id="Any-Name"`, and the
constructor says which names there are.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import importlib.metadata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rlformers.envs.adapters import catalogue as adapters
from rlformers.envs.adapters import control_catalogue, gymnax_catalogue
from rlformers.envs.adapters.left_out import why_left_out
from rlformers.envs.constructor_arguments import check_arguments, naming
from rlformers.envs.memory import catalogue as memory
from rlformers.envs.meta import catalogue as meta
from rlformers.envs.popgym import catalogue as popgym
from rlformers.envs.spec import TRUNCATIONS, Entry, Scores
from rlformers.errors import UserError, complaint, named_line

if TYPE_CHECKING:
    from gymnax.environments.environment import Environment

_CATALOGUES = (popgym, memory, meta, gymnax_catalogue, adapters, control_catalogue)
BUILT_IN = {entry.name: entry for catalogue in _CATALOGUES for entry in catalogue.ENTRIES}
_entries = dict(BUILT_IN)


def register_env(
    name: str,
    target: str | Callable[..., Any],
    *,
    summary: str = "",
    kwargs: dict[str, Any] | None = None,
    previous_action: bool = False,
    length: str = "",
    best: str = "",
    scores: Callable[..., Scores] | None = None,
    truncation: str = "bootstraps",
    replace: bool = False,
) -> None:
    """Add an environment under a new id.

    Args:
        name: The id, `suite/Name`.
        target: A constructor (a class, or a function that returns an `Environment`) or "module:constructor".
        summary: One line for `rlformers list envs`.
        kwargs: Arguments that the id stands for.
        previous_action: Whether `make_env` adds the previous action and a start flag to its observations.
        length: Steps of an episode, for the list.
        best: Return of the best policy, for the list.
        scores: What is known about returns, for reports: a function of those arguments and params that change them in a
            known way (`lambda length=10: Scores(random=1 / length, ceiling=1.0)`).
        truncation: "terminates" if the last step of an episode is a finite horizon of the task, so that `make_env`
            reports truncations as terminations; "bootstraps" if it is a mere time limit.
        replace: Take the place of what was registered under this id before, as a notebook's cell does that runs again.

    Raises:
        UserError: The id is taken, or is one of this package, or `truncation` is neither.
    """
    if truncation not in TRUNCATIONS:
        raise UserError(f"register_env: truncation: need one of {', '.join(TRUNCATIONS)}, got {truncation!r}")
    if name in BUILT_IN:
        raise UserError(
            f"env: {name!r} is already registered, by rlformers itself, whose ids stay what they are; take another"
        )
    if name in entries() and not replace:
        raise UserError(f"env: {name!r} is already registered; replace=True puts this one in its place")
    _entries[name] = Entry(name, summary, target, dict(kwargs or {}), previous_action, length, best, scores, truncation)


def entries() -> dict[str, Entry]:
    """All environments by id: built-in ones, registered ones, and those of installed plug-ins."""
    plugins: dict[str, Entry] = {}
    for point in importlib.metadata.entry_points(group="rlformers.envs"):  # of two the first, like an import
        source = point.dist.name if point.dist else point.value
        plugins.setdefault(point.name, Entry(point.name, f"from {source}", point.value))
    return plugins | _entries


def ignored_plugins() -> list[str]:
    """A line for each installed plug-in that cannot be chosen because its id is taken."""
    taken = {name: "rlformers" if name in BUILT_IN else "register_env" for name in _entries}
    lines = []
    for point in importlib.metadata.entry_points(group="rlformers.envs"):
        source = point.dist.name if point.dist else point.value
        if point.name in taken:
            lines.append(f"env: {point.name!r} from {source} is ignored: it is the id of one from {taken[point.name]}")
        taken.setdefault(point.name, source)
    return lines


def names() -> list[str]:
    """All ids."""
    return list(entries())


def make_env(
    env_id: str,
    *,
    raw: bool = False,
    wrap: Mapping[str, Any] | None = None,
    trial: Mapping[str, Any] | None = None,
    ignore: Sequence[str] = (),
    one_hot: bool = True,
    **env_kwargs: Any,
) -> tuple[Environment, Any]:
    """Build an environment and its default params, e.g. `make_env("popgym/RepeatPreviousEasy", k=8)`.

    Observations are made into what agents read, one float32 vector or an image or a dict of both (see
    `flatten.Flatten`); those of popgym first get the previous action and a start flag
    (`wrappers.PreviousAction`), as in the paper. Truncations are reported as terminations where the horizon belongs to
    the task (`Entry.truncation`), unless `wrap` says what they are or `raw` is given.

    Args:
        env_id: An id that `names` lists.
        raw: Leave observations and ends as the environment defines them.
        wrap: Wrappers around it, e.g. `{"mask": "velocities", "reward_input": True}`, see `wrap.wrap`.
        trial: Play trials of it, e.g. `{"episodes": 5}`, see `trial.Trial`; its `inputs` say what the agent is told
            of the step before, of popgym's environments, too.
        ignore: Parts of the observations that are left out, see `flatten.Flatten`.
        one_hot: Make integers one-hot. If not, they stay integers, as learners store them, see `flatten.Flatten`.
        **env_kwargs: Arguments of its constructor.

    Raises:
        UserError: Unknown id (the nearest is suggested), unknown or impossible argument, or an environment that cannot
            be loaded; one line that names the key and what is allowed.
    """
    from rlformers.envs.environment import check_params

    entry = whole(find(env_id))
    constructor = load(entry)
    taken = set(entry.kwargs) & {"env_id"}
    env_kwargs = check_arguments(constructor, env_kwargs, "env_kwargs", f"env {env_id!r} has", taken)
    with _saying_what_to_install(entry), naming("env_kwargs", env_kwargs):
        env = _construct(constructor, entry, env_kwargs)
        params = env.default_params
        check_params(params, env)  # default params are made of what a user gave to the constructor
    if entry.truncation == "terminates" and not raw and (wrap or {}).get("truncation") is None:
        from rlformers.envs.wrappers import TruncationTerminates

        env = TruncationTerminates(env)
    plays_trials = False
    if wrap or trial:
        from rlformers.envs.wrappers.keywords import in_trials
        from rlformers.envs.wrappers.keywords import wrap as wrap_env

        wrap = check_arguments(wrap_env, wrap or {}, "wrap", "need one of", taken={"env", "around"})
        around, plays_trials = in_trials(env, trial or {})
        env = wrap_env(env, around=around, **wrap)
        params = env.default_params
    if not raw:
        from rlformers.envs.wrappers import PreviousAction
        from rlformers.envs.wrappers.flatten import Flatten

        adds = entry.previous_action and not plays_trials
        env = Flatten(PreviousAction(env) if adds else env, ignore, one_hot)
    return env, params


def find(env_id: str) -> Entry:
    """The entry of an id, or the one that ends in `/*` and stands for it.

    Raises:
        UserError: There is none: it is left out for a reason, or the nearest id is suggested.
    """
    known = entries()
    if env_id in known and not env_id.endswith("/*"):
        return known[env_id]
    suite, _, name = env_id.partition("/")
    pattern = known.get(f"{suite}/*")
    if pattern and name:
        return pattern._replace(name=env_id, kwargs={**pattern.kwargs, "env_id": name})
    if reason := why_left_out(env_id):
        raise UserError(f"env: {env_id!r} is left out: {reason}")
    near = difflib.get_close_matches(popgym.present_name(env_id), known, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise UserError(f"env: {env_id!r} is none of the registered ids{hint} (`rlformers list envs` shows them)")


def whole(entry: Entry) -> Entry:
    """An entry, or the one to which its target leads: an entry point may be one.

    Raises:
        UserError: As `load`.
    """
    loaded = _imported(entry)
    return loaded._replace(name=entry.name) if isinstance(loaded, Entry) else entry


def load(entry: Entry) -> Callable[..., Any]:
    """The constructor of an entry.

    Raises:
        UserError: It cannot be imported; one line that says why, and what to install if that is all that is missing.
    """
    return _imported(whole(entry))


def _imported(entry: Entry) -> Any:
    """What stands at the target of an entry."""
    if not isinstance(entry.target, str):
        return entry.target
    module, _, attribute = entry.target.partition(":")
    with _saying_what_to_install(entry):
        try:
            return getattr(importlib.import_module(module), attribute)
        except (Exception, SystemExit) as error:  # whatever the code of others raises while it is imported
            if entry.extra and isinstance(error, ModuleNotFoundError):
                raise
            reason = str(error) if isinstance(error, ImportError | AttributeError) else named_line(error)
            line = f"env: {entry.name!r} cannot be loaded from {entry.target!r}: {reason}"
            raise complaint(line, error) from error


@contextmanager
def _saying_what_to_install(entry: Entry) -> Iterator[None]:
    """Adapters import the package of an extra where they are imported, or where they build an environment of it.

    Raises:
        UserError: A module is missing, and the entry names an extra; one line.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if not entry.extra:
            raise
        needs = f"needs {error.name}: pip install 'rlformers[{entry.extra}]'"
        raise UserError(f"env: {entry.name!r} {needs}") from error


def _construct(constructor: Callable[..., Any], entry: Entry, env_kwargs: dict[str, Any]) -> Environment:
    """Call a constructor. What it says of the arguments of a user is passed on in one line that shows them.

    Raises:
        UserError: It does not take them.
        CodeError: The same of an environment of a user, whose error is the cause.
    """
    try:
        return constructor(**(entry.kwargs | env_kwargs))
    except ImportError:  # says what to install
        raise
    except Exception as error:
        reason = str(error).partition("\n")[0]
        key = reason.partition(":")[0]
        named = key in ("env", *env_kwargs) or key.startswith("env_kwargs.")
        if not env_kwargs or (named and isinstance(error, ValueError)):
            raise
        if not isinstance(error, TypeError | ValueError):  # of others the text alone says little: '9x9' of a KeyError
            reason = f"{type(error).__name__}: {reason}".removesuffix(": ")
        line = f"env_kwargs: env {entry.name!r} cannot be built with {env_kwargs}: {reason}"
        # Of ours, and those of packages that we adapt, the line says enough: they complain of the arguments.
        adapted = str(entry.target).startswith(__package__)
        raise complaint(line, error, installed=not adapted) from error


def replace_params(params: Any, env: Environment | None = None, /, **changes: Any) -> Any:
    """Params with some fields changed, e.g. `replace_params(params, env, length=20)`.

    A field keeps the type of its present value: an int takes an int, a float a float or an int, a bool a bool, an array
    numbers of its shape. A time limit is 1 or more.

    Args:
        params: What to change; it stays as it is.
        env: Whose params they are. With it, its `check_params` looks at the result as well.
        **changes: New values by field.

    Raises:
        UserError: Unknown field, wrong type or impossible value; the message names `env_params.<field>` and what is
            allowed.
    """
    allowed = [field.name for field in dataclasses.fields(params)]
    for name in changes:
        if name not in allowed:
            raise UserError(f"env_params.{name}: this environment has {', '.join(allowed) or 'no params'}")
    values = {name: _like(name, getattr(params, name), value) for name, value in changes.items()}
    from rlformers.envs.environment import check_params

    with naming("env_params", changes):
        params = params.replace(**values) if hasattr(params, "replace") else dataclasses.replace(params, **values)
        check_params(params, env)
        return params


def _like(name: str, present: Any, value: Any) -> Any:
    """`value` in the type of `present`."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(present, bool):
        wanted, fits = "true or false", isinstance(value, bool)
    elif isinstance(present, int):
        value = int(value) if isinstance(value, float) and value.is_integer() else value  # as `wandb agent` writes it
        wanted, fits = "an int below 2^31", number and isinstance(value, int) and abs(value) < 2**31
    elif isinstance(present, float):
        wanted, fits = "a float", number
        value = float(value) if fits else value
    elif hasattr(present, "shape"):
        import numpy as np

        kinds = {"b": "b", "i": "iu", "u": "iu"}.get(np.dtype(present.dtype).kind, "iuf")
        wanted = f"{present.dtype.name} numbers of shape {present.shape}"
        array = np.asarray(value)
        fits = array.shape == present.shape and array.dtype.kind in kinds
        value = array.astype(present.dtype) if fits else value
    else:
        wanted, fits = f"a {type(present).__name__}", isinstance(value, type(present))
    if not fits:
        raise UserError(f"env_params.{name}: need {wanted}, got {value!r}")
    return value
