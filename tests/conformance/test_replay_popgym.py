"""The ports of POPGym replay recorded episodes; the replay notices faults and reads any file of the layout."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import replay_popgym
from popgym_episodes import episodes

from rlformers.envs.registry import make_env, names, replace_params

DATA = Path(__file__).parents[1] / "data/popgym"
EPISODES = DATA / "popgym_trajectories.npz"
CARDS = "RepeatFirstEasy"


@pytest.fixture(scope="module")
def cards():
    """Three episodes under random actions and an expert's of one game."""
    return {key: value for key, value in np.load(EPISODES).items() if key.startswith(f"{CARDS}/")}


def _part(data, kind):
    """What is recorded of random or expert episodes, without the prefix."""
    fields = {key.removeprefix(f"{CARDS}/"): value for key, value in data.items()}
    expert = {key.removeprefix("expert/"): fields.pop(key) for key in list(fields) if key.startswith("expert/")}
    return expert if kind == "expert" else fields


def _file(fields, kind="random"):
    return {f"{CARDS}/{'expert/' if kind == 'expert' else ''}{key}": value for key, value in fields.items()}


def _assert_same(found, wanted):
    for key in ("obs", "action", "reward", "end"):
        np.testing.assert_array_equal(getattr(found, key), getattr(wanted, key))
    assert found.hidden.keys() == wanted.hidden.keys()
    for key, value in wanted.hidden.items():
        np.testing.assert_array_equal(found.hidden[key], value)


@pytest.mark.parametrize(
    "level", ["Easy"] + [pytest.param(level, marks=pytest.mark.slow) for level in ("Medium", "Hard")]
)
def test_recorded_episodes_replay(level):
    recorded = {key.split("/")[0] for key in np.load(EPISODES).files}  # of the labyrinths, only the easy ones
    registered = [name.removeprefix("popgym/") for name in names() if name.startswith("popgym/")]
    assert all(name in recorded or name.startswith("Labyrinth") for name in registered)
    assert replay_popgym.main([str(EPISODES), "--envs", *(name for name in recorded if name.endswith(level))]) == 0


def _make(changed, name, raw):
    env, params = make_env(name, raw=raw)
    return env, replace_params(params, **changed)


@pytest.mark.slow
@pytest.mark.parametrize("gravity,mismatch", [(9.8, 0), (9.8001, 1)])
def test_poles_balanced_for_600_steps_replay_as_far_as_the_physics_is_right(monkeypatch, gravity, mismatch):
    monkeypatch.setattr(replay_popgym, "make_env", partial(_make, {"gravity": gravity}))
    assert replay_popgym.main([str(DATA / "balanced_poles.npz")]) == mismatch


def test_pendulums_balanced_for_150_steps_replay(capsys):
    assert replay_popgym.main([str(DATA / "balanced_pendulums.npz")]) == 0
    assert capsys.readouterr().out.count(": 2 episodes, equal") == 2


@pytest.mark.parametrize(
    "changed",
    [{"g": 10.0001}] + [pytest.param(change, marks=pytest.mark.slow) for change in ({"dt": 0.0500005}, {"m": 1.00001})],
)
def test_balanced_pendulums_show_that_the_physics_is_wrong(monkeypatch, capsys, changed):
    monkeypatch.setattr(replay_popgym, "make_env", partial(_make, changed))
    assert replay_popgym.main([str(DATA / "balanced_pendulums.npz")]) == 1
    printed = capsys.readouterr().out
    for episode in ("random 0", "random 1", "expert 0", "expert 1"):
        assert f"{episode}: obs" in printed and f"{episode}: reward" in printed


@pytest.mark.parametrize("key,row", [("obs", 20), ("action", 20), ("reward_code", 5), ("end", 1), ("h_cards", (1, 9))])
def test_the_replay_notices_a_change(tmp_path, cards, key, row, capsys):
    kept = {name: value.copy() for name, value in cards.items()}
    changed = kept[f"{CARDS}/{key}"]
    changed[row] = ~changed[row] if changed.dtype == bool else (changed[row] + 1) % (2 if "code" in key else 4)
    if key == "action":  # only one that turns right into wrong, or back, can show
        first = kept[f"{CARDS}/h_cards"][0, 0]
        changed[row] = (first + 1) % 4 if cards[f"{CARDS}/action"][row, 0] == first else first
    np.savez(tmp_path / "changed.npz", **kept)
    assert replay_popgym.main([str(tmp_path / "changed.npz")]) == 1
    assert "MISMATCH" in capsys.readouterr().out


def test_stacked_experts_alone_replay_whatever_their_types(tmp_path, cards):
    fields = _part(cards, "random")
    fields = {key: value.astype(np.int64) if value.dtype.kind == "i" else value for key, value in fields.items()}
    fields["reward"] = fields.pop("reward_values").astype(np.float64)[fields.pop("reward_code")]
    np.savez(tmp_path / "experts.npz", **_file(fields, "expert"))
    assert replay_popgym.main([str(tmp_path / "experts.npz")]) == 0


def test_random_and_expert_episodes_are_read_from_either_place(cards):
    wanted = episodes(cards, CARDS, ("h_cards",))
    assert list(wanted) == ["random 0", "random 1", "random 2", "expert 0"]
    assert [len(episode.action) for episode in wanted.values()] == [*cards[f"{CARDS}/T"], 51]
    swapped = _file(_part(cards, "random"), "expert") | _file(_part(cards, "expert"))
    found = episodes(swapped, CARDS, ("h_cards",))
    assert list(found) == ["random 0", "expert 0", "expert 1", "expert 2"]
    for name, other in (("random 0", "expert 0"), ("expert 0", "random 0"), ("expert 2", "random 2")):
        _assert_same(found[name], wanted[other])


@pytest.mark.parametrize("kind", ["random", "expert"])
@pytest.mark.parametrize("axes", [("end",), ("h_cards",), ("end", "h_cards")])
def test_a_single_episode_may_have_the_axis_of_episodes_or_not(cards, kind, axes):
    fields = _part(cards, "expert")
    wanted = episodes(_file(fields, "expert"), CARDS, ("h_cards",))["expert 0"]
    fields |= {key: fields[key][None] for key in axes} | {"T": np.int16(51)}
    _assert_same(episodes(_file(fields, kind), CARDS, ("h_cards",))[f"{kind} 0"], wanted)


def test_hidden_arrays_that_the_port_does_not_need_are_not_read(cards):
    fields = _part(cards, "expert") | {"h_other": np.zeros((9, 9)), "note": np.array("made by hand")}
    assert episodes(_file(fields, "expert"), CARDS, ("h_cards",))["expert 0"].hidden.keys() == {"h_cards"}


@pytest.mark.parametrize(
    "change,message",
    [
        ({"T": None}, f"{CARDS}/T: missing; 3 episodes"),
        ({"h_cards": None}, f"{CARDS}/h_cards: missing; there are T, action"),
        ({"reward_code": None}, f"{CARDS}/reward_code: missing"),
        ({"T": [51, 51, 50]}, rf"{CARDS}/action: need 152 rows for 3 episodes of T = \[51, 51, 50\], got \(153, 1\)"),
        ({"T": [51, 102]}, f"{CARDS}/T: need 3 rows"),
        ({"T": [153, 0, 0]}, f"{CARDS}/T: need at least one step"),
        ({"h_cards": np.zeros((2, 52))}, f"{CARDS}/h_cards: need 3 rows"),
        ({"end": np.zeros((3, 1))}, rf"{CARDS}/end: need shape \(episodes, 2\), got \(3, 1\)"),
        ({key: None for key in ("T", "obs", "action", "end")}, f"{CARDS}/: no episodes"),
    ],
)
def test_arrays_that_do_not_fit_are_named(cards, change, message):
    fields = _part(cards, "random") | {key: np.array(value) for key, value in change.items()}
    fields = {key: value for key, value in fields.items() if change.get(key, value) is not None}
    with pytest.raises(ValueError, match=message):
        episodes(_file(fields), CARDS, ("h_cards",))


@pytest.mark.parametrize("asked", [[CARDS], [f"popgym/{CARDS}"], [f"{CARDS},popgym/RepeatFirstMedium", CARDS]])
def test_environments_are_chosen_by_name_or_id(monkeypatch, asked):
    replayed = []
    monkeypatch.setattr(replay_popgym, "replay", lambda name, recorded: replayed.append(name) or [[]] * len(recorded))
    assert replay_popgym.main([str(EPISODES), "--envs", *asked]) == 0
    assert replayed == [CARDS, "RepeatFirstMedium"][: 1 + asked[0].count(",")]


def test_what_is_not_registered_or_broken_fails_and_the_rest_is_replayed(monkeypatch, tmp_path, cards, capsys):
    monkeypatch.setattr(replay_popgym, "replay", lambda name, recorded: [[]] * len(recorded))
    strange = {key.replace(CARDS, "RepeatFirstExtreme"): value for key, value in cards.items()}
    np.savez(tmp_path / "file.npz", **cards, **strange, **{"RepeatFirstHard/obs": np.zeros(3)})
    assert replay_popgym.main([str(tmp_path / "file.npz")]) == 1
    printed = capsys.readouterr().out
    assert f"{CARDS}: 4 episodes, equal" in printed and "1 of 3 environments agree" in printed
    assert "RepeatFirstExtreme: recorded, but NOT REGISTERED" in printed
    assert "RepeatFirstHard: CANNOT BE REPLAYED: RepeatFirstHard/end: missing" in printed


@pytest.mark.parametrize(
    "content,asked,message",
    [
        (None, [], "not a readable .npz file"),
        (b"text", [], "not a readable .npz file"),
        ({}, [], "no environments"),
        ({"seed": np.zeros(3)}, [], "no environments"),
        ({f"{CARDS}/T": np.zeros(3)}, ["--envs", "RepeatFirstHard"], f"is not in the file, which has {CARDS}"),
        ({f"{CARDS}/T": np.zeros(3)}, ["--envs", ","], "need at least one name"),
    ],
)
def test_nothing_to_replay_is_an_error(tmp_path, content, asked, message, capsys):
    path = tmp_path / "file.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.savez(path, **content)
    with pytest.raises(SystemExit) as stopped:
        replay_popgym.main([str(path), *asked])
    assert stopped.value.code == 2 and message in capsys.readouterr().err
