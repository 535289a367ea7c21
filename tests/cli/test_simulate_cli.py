"""`scalax simulate step`, `allocate` on chips and `frontier` as other programs use them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Command


def answer(scalax: Command, *args: object):
    done = scalax(*args, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_simulate_step_keeps_its_keys(scalax: Command) -> None:
    result = answer(
        scalax, "simulate", "step", "--preset", "llama-3.1-8b", "--chips", "v5p-32",
        "--mesh", "fsdp=16", "--batch-tokens", 131072, "--seq-len", 8192, "--recompute", "full",
    )  # fmt: skip
    assert result["chips"] == "v5p-32"
    assert (result["num_chips"], result["mesh"]) == (16, {"fsdp": 16})
    assert (result["params"], result["tokens_per_step"]) == (8_030_261_248, 131072)
    assert result["fits"] is True
    assert result["bound"] in ("compute", "memory", "network")
    size = result["bytes_per_device"]
    assert set(size) == {"parameters", "optimizer", "gradients", "activations", "total"}
    assert all(isinstance(value, int) for value in [*size.values(), result["memory_limit"]])
    assert size["total"] == sum(v for k, v in size.items() if k != "total")
    speed = result["tokens_per_second_per_chip"]
    assert speed * result["seconds_per_step"] * 16 == pytest.approx(131072)
    assert 0 < result["utilisation"] < 1
    assert result["usd_per_billion_tokens"] > 0


def test_what_does_not_fit_is_an_answer_all_the_same(scalax: Command) -> None:
    result = answer(scalax, "simulate", "step", "--preset", "gpt-3-175b", "--chips", "v5e-16")
    assert result["fits"] is False


def test_simulating_needs_no_jax() -> None:
    code = (
        "import sys; from scalax.cli.app import cli; cli.main(['simulate', 'step', '--params', "
        "'1e9', '--chips', 'v5e-16', '--json'], standalone_mode=False); "
        "assert not {'jax', 'flax', 'scipy', 'optax'} & set(sys.modules), 'heavy'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--params", "1e9", "--chips", "v5e-17"], "Fix: write one of v5e-4, v5e-8"),
        (["--params", "1e9", "--preset", "llama-2-7b", "--chips", "v5e-16"], "one of --params"),
        (["--preset", "llama2-7b", "--chips", "v5e-16"], "did you mean 'llama-2-7b'"),
        (["--preset", "mixtral-8x7b", "--chips", "v5e-16", "--compile"], "simulated only"),
        (["--params", "1e9", "--chips", "h100-8", "--compile"], "only the TPU's compiler"),
        (["--params", "nan", "--chips", "v5e-16"], "params"),
        (["--preset", "llama-2-7b", "--family", "moe", "--chips", "v5e-16"], "--family"),
    ],
)
def test_mistakes_end_with_two_and_a_word(scalax: Command, args: list[str], message: str) -> None:
    done = scalax("simulate", "step", *args)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_allocate_on_chips_adds_its_keys(scalax: Command) -> None:
    result = answer(
        scalax, "allocate", "--law", "hoffmann2022", "--chips", "v5e-256", "--days", 30,
        "--lost", 0.1,
    )  # fmt: skip
    assert set(result) >= {"flops", "params", "tokens", "loss", "intervals"}
    assert result["chips"] == "v5e-256"
    assert result["days"] == pytest.approx(30, rel=0.01)
    assert result["usd"] == pytest.approx(result["days"] * 24 * 256 * 1.2)
    assert result["mesh"]
    assert 0 < result["utilisation"] < 1
    assert result["lost"] == 0.1


def test_frontier_gives_a_table_and_a_figure(scalax: Command, tmp_path: Path) -> None:
    figure = tmp_path / "frontier.png"
    result = answer(
        scalax, "frontier", "--law", "hoffmann2022", "--flops", "1e20:1e22", "--points", 3,
        "--out", figure,
    )  # fmt: skip
    assert [a["flops"] for a in result] == [1e20, 1e21, 1e22]
    assert figure.read_bytes().startswith(b"\x89PNG")
    done = scalax("frontier", "--law", "hoffmann2022", "--flops", "1e20", "--out", "f.pdf")
    assert done.returncode == 2
    assert "write f.png" in done.stderr
