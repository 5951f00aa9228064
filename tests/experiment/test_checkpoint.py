"""The store of checkpoints: what comes back is what was saved, or an older one and a line that says why."""

import hashlib
import json
import os
import pickle
import random
import resource
import shutil
import subprocess
import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlformers.config.compose import compose, to_dict
from rlformers.experiment.checkpoints.resume import latest
from rlformers.experiment.checkpoints.store import (
    SCHEMA,
    CheckpointError,
    CheckpointStore,
    _sha256,
    good_checkpoints,
    read,
    saved_updates,
)


class State(NamedTuple):
    params: Any
    key: Any
    nothing: Any = None


def state(seed: int = 0) -> State:
    """Every kind of leaf there is."""
    rng = np.random.default_rng(seed)
    odd = jnp.array([0.0, -0.0, np.nan, np.inf, 1e-45, 3.4e38], jnp.float32)
    params = {
        "weights": jnp.asarray(rng.normal(size=(2, 30, 50)), jnp.float32),
        "half": jnp.asarray(rng.normal(size=5), jnp.bfloat16),
        "complex": jnp.asarray(rng.normal(size=4) + 1j, jnp.complex64),
        "a/b 'c'": odd,
        "ints": jnp.arange(-3, 3, dtype=jnp.int32),
        "bytes": jnp.arange(250, 256).astype(jnp.uint8),
        "flags": jnp.array([True, False]),
        "none": jnp.zeros((2, 0)),
        "one": jnp.array(seed, jnp.int32),
    }
    keys = (jax.random.split(jax.random.key(seed), 3), jax.random.key(seed, impl="rbg"), jax.random.PRNGKey(seed))
    return State(params, keys)


def same(a: Any, b: Any) -> bool:
    def bits(leaf: Any) -> Any:
        leaf = jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
        return leaf.shape, leaf.dtype, np.asarray(leaf).tobytes()

    return jax.tree.structure(a) == jax.tree.structure(b) and all(
        x.dtype == y.dtype and bits(x) == bits(y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


def template(tree: Any) -> Any:
    return jax.eval_shape(lambda: tree)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Checkpoints 5 and 9, not to be changed."""
    directory = tmp_path_factory.mktemp("saved") / "checkpoints"
    store = CheckpointStore(directory, keep=2)
    store.save(5, state(5), {"position": 5})
    store.save(9, state(9), {"position": 9})
    store.wait()
    store.close()
    return directory


@pytest.fixture
def copied(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "checkpoints")


def test_what_was_saved_comes_back_bit_by_bit_and_without_pickle(saved, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("pickle")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    newest, older = good_checkpoints(saved)
    assert (newest.update, newest.meta["position"], older.update) == (9, 9, 5)
    assert same(read(newest, template(state())), state(9))
    assert same(read(older, template(state())), state(5))
    assert not [file for file in saved.rglob("*") if file.is_file() and file.read_bytes()[:1] == b"\x80"]
    part = State({"one": template(state()).params["one"]}, None)
    assert same(read(newest, part, partial=True), State({"one": jnp.array(9, jnp.int32)}, None))


def test_the_sums_are_those_of_sha256sum(saved):
    lines = (saved / "9" / "SHA256SUMS").read_text().splitlines()
    assert {line[66:] for line in lines} >= {"meta.json", "state/_METADATA"}
    for line in lines:
        assert line[:66] == hashlib.sha256((saved / "9" / line[66:]).read_bytes()).hexdigest() + "  "


@pytest.mark.parametrize("number", range(24))
def test_no_flipped_bit_and_no_lost_end_is_restored(number, copied):
    rng = random.Random(number)
    files = sorted(file for file in (copied / "9").rglob("*") if file.is_file())
    file = files[number % len(files)]
    content = bytearray(file.read_bytes())
    if number % 3:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    else:
        del content[rng.randrange(len(content)) :]
    file.write_bytes(content)
    lines: list[str] = []
    (checkpoint,) = good_checkpoints(copied, lines.append)
    assert checkpoint.update == 5
    (line,) = lines
    # A flip in the list of sums condemns the file whose line it hit, or one that it invented.
    assert str(copied / "9") in line and "\n" not in line
    assert file.name == "SHA256SUMS" or str(file) in line
    if number == 0:
        assert same(read(checkpoint, template(state())), state(5))


@pytest.mark.parametrize("what", ["lost", "added", "unlisted", "no sums", "empty", "foreign"])
def test_files_that_came_or_went_are_named(what, copied):
    folder = copied / "9"
    expected = folder / "state" / "_METADATA"
    if what == "lost":
        expected.unlink()
    elif what == "added":
        expected = folder / "state" / "more"
        expected.write_text("x")
    elif what == "unlisted":
        lines = (folder / "SHA256SUMS").read_text().splitlines(keepends=True)
        (folder / "SHA256SUMS").write_text("".join(line for line in lines if "/_METADATA" not in line))
    elif what == "no sums":
        expected = folder / "SHA256SUMS"
        expected.unlink()
    elif what == "empty":
        shutil.rmtree(folder)
        folder.mkdir()
        expected = folder / "SHA256SUMS"
    else:
        shutil.rmtree(folder)
        folder.write_text("not a folder")
        expected = folder / "SHA256SUMS"
    lines = []
    assert [checkpoint.update for checkpoint in good_checkpoints(copied, lines.append)] == [5]
    assert len(lines) == 1 and str(expected) in lines[0]


@pytest.mark.parametrize(
    "change,message",
    [
        (lambda p: p | {"ints": jnp.zeros(7, jnp.int32)}, "['ints'] is int32[6] where int32[7] is needed"),
        (lambda p: p | {"ints": jnp.zeros(6, jnp.int16)}, "['ints'] is int32[6] where int16[6] is needed"),
        (lambda p: p | {"half": jnp.zeros(5)}, "['half'] is bfloat16[5] where float32[5] is needed"),
        (lambda p: p | {"none": jnp.zeros((3, 0))}, "['none'] is float32[2, 0] where float32[3, 0] is needed"),
        (lambda p: p | {"new": jnp.zeros(1)}, "['new'] is missing"),
        (lambda p: {name: leaf for name, leaf in p.items() if name != "one"}, "['one'] is not expected"),
        (lambda p: {"weights": p["weights"]}, "(and 7 more)"),
    ],
)
def test_nothing_is_cast_or_left_out(change, message, saved):
    wanted = state()._replace(params=change(state().params))
    with pytest.raises(CheckpointError) as caught:
        read(next(good_checkpoints(saved)), template(wanted))
    assert message in str(caught.value) and str(saved / "9") in str(caught.value) and "\n" not in str(caught.value)


def test_keys_of_another_generator_are_refused(saved):
    wanted = state()._replace(key=(jax.random.split(jax.random.key(0), 3), jax.random.key(0), jax.random.PRNGKey(0)))
    with pytest.raises(CheckpointError, match=r"\.key\[1\] is key<rbg>\[\] where key<fry>\[\] is needed"):
        read(next(good_checkpoints(saved)), template(wanted))


def rewrite_meta(folder, text):
    """Edited by somebody who also edits the sums."""
    meta, sums = folder / "meta.json", folder / "SHA256SUMS"
    meta.write_text(text)
    lines = sums.read_text().splitlines()
    lines = [f"{_sha256(meta)}  meta.json" if line.endswith(" meta.json") else line for line in lines]
    sums.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    "text,message",
    [
        ('{"schema": 0}', f" has schema 0; this version reads {SCHEMA}$"),
        ("{}", f" has schema None; this version reads {SCHEMA}$"),
        ("[1]", f" has schema None; this version reads {SCHEMA}$"),
        ("{", "/meta.json is not JSON "),
        (json.dumps({"schema": SCHEMA}), "/meta.json has no leaves$"),
    ],
)
def test_another_schema_or_what_nobody_wrote_is_refused_in_one_line(text, message, copied):
    rewrite_meta(copied / "9", text)
    with pytest.raises(CheckpointError, match=f"{copied}/9{message}") as caught:
        next(good_checkpoints(copied))
    assert "\n" not in str(caught.value)


def test_a_meta_json_that_lacks_what_a_run_needs_is_named(copied, tmp_path):
    with pytest.raises(
        CheckpointError, match=f"^resume: {copied}/9/meta.json has no config, metrics_bytes, episodes, "
    ):
        latest(tmp_path, compose([]))
    meta = json.loads((copied / "9" / "meta.json").read_text())
    needed = {"config": to_dict(compose([])), "metrics_bytes": 0, "episodes": {}, "wall_seconds": 0, "loop_seconds": 0}
    rewrite_meta(copied / "9", json.dumps(meta | needed))
    checkpoint = latest(tmp_path, compose([]))  # without versions there is no line about them
    assert checkpoint is not None and checkpoint.update == 9
    # An older checkpoint without score and pin gives way.
    for update in (5, 9):
        rewrite_meta(copied / str(update), json.dumps({"schema": SCHEMA, "leaves": meta["leaves"]}))
    store = CheckpointStore(copied, keep=1, resumed=checkpoint)
    store.save(10, {"x": jnp.zeros(2)}, {})
    store.close()
    assert saved_updates(copied) == [10]


def test_the_newest_the_best_and_the_pinned_are_kept(tmp_path):
    tree = {"x": jnp.zeros(2)}
    store = CheckpointStore(tmp_path / "checkpoints", keep=2)
    scores = {1: None, 2: 0.5, 3: float("nan"), 4: 0.25, 5: float("inf"), 6: -1.0, 7: None}
    for update, score in scores.items():
        store.save(update, tree, {}, score, pinned=update == 4)
    store.close()
    assert saved_updates(tmp_path / "checkpoints") == [2, 4, 6, 7]
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["2", "4", "6", "7"]

    # Another process goes on after 6. It reads what it knows about the others, and 7 gives way.
    resumed = list(good_checkpoints(tmp_path / "checkpoints"))[1]
    (tmp_path / "checkpoints" / ".unfinished" / "7").mkdir(parents=True)
    (tmp_path / "checkpoints" / ".trash" / "3").mkdir(parents=True)
    store = CheckpointStore(tmp_path / "checkpoints", keep=1, resumed=resumed)
    store.save(8, tree, {}, 0.1)
    store.wait()
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["2", "4", "8"]
    store.save(8, {"x": jnp.ones(2)}, {}, 0.6)
    store.wait()
    store.close()
    assert saved_updates(tmp_path / "checkpoints") == [4, 8]
    newest = next(good_checkpoints(tmp_path / "checkpoints"))
    np.testing.assert_array_equal(read(newest, {"x": jax.ShapeDtypeStruct((2,), jnp.float32)})["x"], 1.0)


def test_buffers_can_be_donated_while_they_are_saved(tmp_path):
    step = jax.jit(lambda x: x + 1, donate_argnums=0)
    store = CheckpointStore(tmp_path / "checkpoints", keep=9)
    x = jnp.zeros((300, 300))
    for update in range(3):
        store.save(update, {"x": x}, {})
        x = step(step(x))
    store.wait()
    store.close()
    saved = list(good_checkpoints(tmp_path / "checkpoints"))
    assert [checkpoint.update for checkpoint in saved] == [2, 1, 0]
    for checkpoint in saved:
        restored = read(checkpoint, {"x": jax.ShapeDtypeStruct((300, 300), jnp.float32)})["x"]
        np.testing.assert_array_equal(restored, 2.0 * checkpoint.update)


def test_a_full_disk_costs_a_checkpoint_and_nothing_else(copied):
    lines: list[str] = []
    resumed = next(good_checkpoints(copied))
    store = CheckpointStore(copied, keep=1, resumed=resumed, report=lines.append)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))  # no file of this process can be longer
    try:
        store.save(10, {"x": jax.random.normal(jax.random.key(0), (100, 100))}, {})
        with pytest.raises(CheckpointError) as caught:
            store.wait()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert lines == [str(caught.value)] and lines[0].startswith(f"checkpoint: cannot write {copied}/10: ")
    assert "\n" not in lines[0]
    assert sorted(path.name for path in copied.iterdir()) == ["5", "9"]
    assert same(read(next(good_checkpoints(copied)), template(state())), state(9))
    store.save(11, {"x": jnp.zeros(2)}, {})  # once there is room again
    store.wait()
    store.close()
    assert saved_updates(copied) == [11]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    lines: list[str] = []
    store = CheckpointStore(tmp_path / "file", keep=1, report=lines.append)
    store.save(1, {"x": jnp.zeros(2)}, {})
    store.close()
    assert lines == [f"checkpoint: cannot write {tmp_path}/file/1: {os.strerror(20)}"]


TWO_DEVICES = """
import sys
from pathlib import Path
import jax, jax.numpy as jnp
from rlformers.experiment.checkpoints.store import CheckpointStore, good_checkpoints, read

mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
P = jax.sharding.PartitionSpec
def struct(shape, dtype, *axes):
    return jax.ShapeDtypeStruct(shape, dtype, sharding=jax.sharding.NamedSharding(mesh, P(*axes)))
keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 4))
template = {"x": struct((3, 4, 5), jnp.float32, None, "data"), "keys": struct(keys.shape, keys.dtype, "data")}
state = read(next(good_checkpoints(Path(sys.argv[1]))), template)
assert [shard.data.shape for shard in state["x"].addressable_shards] == [(3, 2, 5)] * 2
store = CheckpointStore(Path(sys.argv[2]), keep=1)
store.save(2, jax.jit(lambda s: {"x": s["x"] + 1, "keys": s["keys"][::-1]})(state), {})
store.wait()
"""


def test_one_device_to_two_and_back(tmp_path):
    x, keys = jax.random.normal(jax.random.key(1), (3, 4, 5)), jax.random.split(jax.random.key(0), 4)
    store = CheckpointStore(tmp_path / "one", keep=1)
    store.save(1, {"x": x, "keys": keys}, {})
    store.close()
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "NPROC": "8"}
    command = [sys.executable, "-c", TWO_DEVICES, str(tmp_path / "one"), str(tmp_path / "two")]
    subprocess.run(command, check=True, env=environment)
    back = read(next(good_checkpoints(tmp_path / "two")), jax.eval_shape(lambda: {"x": x, "keys": keys}))
    assert same(back, {"x": x + 1, "keys": keys[::-1]})
