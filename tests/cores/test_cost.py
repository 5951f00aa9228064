"""What cores cost, as `rlformers list cores` prints it."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp

import rlformers
from rlformers.command.main import main
from rlformers.cores import cost
from rlformers.cores.registry import built_in
from rlformers.operations import UNKNOWN_TURNS, operations


def test_operations_of_a_program():
    def f(x, W):
        x, _ = jax.lax.scan(lambda x, _: (jnp.tanh(x @ W), None), x, None, length=5)
        return x[:2] * 3

    program = jax.make_jaxpr(f)(jnp.ones(4), jnp.ones((4, 4))).jaxpr
    assert operations(program, cost.arithmetic) == 5 * (16 + 4) + 2
    assert operations(program, lambda eqn: eqn.primitive.name == "tanh") == 5


def test_branches_and_loops_of_unknown_length():
    """The dearest branch counts, with its own cost; a `while` is assumed to turn ten times, with its condition."""

    def choose(x):
        return jax.lax.cond(x.sum() > 0, lambda: jnp.sin(jnp.cos(x)), lambda: jnp.tan(x))

    def loop(x):
        return jax.lax.while_loop(lambda x: x[0] < 9.0, lambda x: x + 1.0, x)

    def calls(f, *names):
        return operations(jax.make_jaxpr(f)(jnp.ones(4)).jaxpr, lambda eqn: eqn.primitive.name in names)

    assert calls(choose, "sin", "cos", "tan") == 2
    assert calls(loop, "add") == calls(loop, "lt") == UNKNOWN_TURNS == 10


def test_the_mlp_by_hand():
    # 3 layers of 8 x 8 products, sums with the bias and relus.
    assert cost.measure("mlp", 8, 3) == cost.Cost(0, 3 * 72, 3 * 80, 3 * 80, 0)


def test_the_table_is_up_to_date():
    table = json.loads((Path(rlformers.__file__).parent / "cores" / "costs.json").read_text())
    fresh = {name: cost.measure(name)._asdict() for name in built_in()}
    assert table == fresh, "run: python -m rlformers.cores.cost"


def test_list_cores(capsys):
    assert main(["list", "cores"]) == 0
    default = capsys.readouterr().out
    assert all(f"\n{name} " in default for name in built_in())
    assert main(["list", "cores", "width=16", "num_layers=2"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("gru "))
    gru = cost.measure("gru", 16, 2)
    assert line.split()[1:6] == ["32", f"{gru.parameters:,}", f"{gru.step:,}", f"{gru.segment:,}", "all"]
    for word, message in (("width=0", "width: need at least 1, got '0'"), ("depth=2", "'depth' is not one of width")):
        assert main(["list", "cores", word]) == 2
        assert message in capsys.readouterr().err
