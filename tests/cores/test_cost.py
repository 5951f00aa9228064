"""What cores cost, as `rlformers list cores` prints it."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp

import rlformers
from rlformers.command.main import main
from rlformers.cores import cost
from rlformers.cores.registry import built_in


def test_operations_of_a_program():
    def f(x, W):
        x, _ = jax.lax.scan(lambda x, _: (jnp.tanh(x @ W), None), x, None, length=5)
        return x[:2] * 3

    assert cost.operations(jax.make_jaxpr(f)(jnp.ones(4), jnp.ones((4, 4))).jaxpr) == 5 * (16 + 4) + 2


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
