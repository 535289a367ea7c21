"""The command line as other programs use it: keys, exit codes, streams, speed of import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import CHINCHILLA, Command

COLUMNS = "params=Model Size,flops=Training FLOP"


def answer(scalax: Command, *args: object):
    done = scalax(*args, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_allocate_gives_the_published_third_approach(scalax: Command) -> None:
    result = answer(scalax, "allocate", "--law", "hoffmann2022", "--flops", 5.76e23)
    # Hoffmann et al. 2022, table A3: 40.2 billion parameters at Gopher's budget of 5.76e23.
    assert result["params"] == pytest.approx(4.04e10, rel=2e-3)
    assert result["tokens"] == pytest.approx(2.38e12, rel=2e-3)
    assert result["tokens_per_param"] == pytest.approx(result["tokens"] / result["params"])
    assert 6 * result["params"] * result["tokens"] == pytest.approx(5.76e23)
    assert set(result) >= {"flops", "loss", "intervals", "batch_tokens", "learning_rate"}
    assert result["intervals"] == {"params": None, "tokens": None, "loss": None}


def test_fit_reaches_the_best_known_optimum(scalax: Command, tmp_path: Path) -> None:
    out = tmp_path / "fit.json"
    result = answer(
        scalax, "fit", CHINCHILLA, "--law", "chinchilla", "--columns", COLUMNS,
        "--drop-worst", 5, "--out", out,
    )  # fmt: skip
    assert result["objective"] <= 0.0010182741
    assert result["rows"] == 240
    assert result["intervals"] is None
    assert result["law"] == "chinchilla"
    # Besiroglu et al. 2024, table 1, within a tenth of its standard errors.
    printed = {"A": (482.01, 124.58), "B": (2085.43, 1293.23), "E": (1.8172, 0.03)}
    printed |= {"alpha": (0.3478, 0.02), "beta": (0.3658, 0.02)}
    for name, (value, error) in printed.items():
        assert result["coefficients"][name] == pytest.approx(value, abs=0.1 * error)
    allocation = answer(scalax, "allocate", "--fit", out, "--flops", 1e22)
    assert allocation["tokens_per_param"] == pytest.approx(20, rel=0.3)


def test_predict_answers_points_in_order(scalax: Command, tmp_path: Path) -> None:
    points = tmp_path / "points.csv"
    points.write_text("tokens,params,loss\n1.4e12,70e9,9\n300e9,280e9,\n")
    result = answer(scalax, "predict", "--law", "hoffmann2022", "--points", points)
    assert [(p["params"], p["tokens"]) for p in result] == [(70e9, 1.4e12), (280e9, 300e9)]
    # Hoffmann et al. 2022: Chinchilla (70 B, 1.4 T) beats Gopher (280 B, 300 B).
    assert result[0]["loss"] < result[1]["loss"]
    assert set(result[0]) >= {"params", "tokens", "flops", "loss", "low", "high"}
    one = answer(scalax, "predict", "--law", "hoffmann2022", "--params", 70e9, "--tokens", 1.4e12)
    assert one == result[:1]


def test_laws_are_listed_and_shown(scalax: Command) -> None:
    names = {law["name"] for law in answer(scalax, "laws", "list")}
    assert {"chinchilla", "hoffmann2022", "besiroglu2024"} <= names
    shown = answer(scalax, "laws", "show", "hoffmann2022")
    assert shown["coefficients"]["alpha"] == 0.33917084
    assert set(shown) >= {"source", "equation", "counting"}


def test_plugins_are_listed(scalax: Command) -> None:
    result = {(p["kind"], p["name"]): p for p in answer(scalax, "plugins", "list")}
    assert result["law", "chinchilla"]["origin"] == "built-in"
    assert ("model", "transformer") in result
    assert ("dataset", "stdlib") in result
    assert all(p["error"] is None for p in result.values())


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["allocate", "--law", "hofmann2022", "--flops", "1e20"], "did you mean 'hoffmann2022'"),
        (["allocate", "--law", "hoffmann2022", "--flops", "-1"], "expected a positive number"),
        (["allocate", "--law", "hoffmann2022", "--flops", "lots"], "'lots' is not a valid float"),
        (["allocate", "--law", "hoffmann2022"], "Missing option '--flops'"),
        (["allocate", "--flops", "1e20"], "expected --fit FILE or --law PUBLISHED"),
        (["allocate", "--fit", "nowhere.json", "--flops", "1e20"], "nowhere.json: no such file"),
        (["fit", "nowhere.csv"], "nowhere.csv: no such file"),
        (["fit", str(CHINCHILLA)], "--columns params=THEIR_NAME"),
        (["fit", str(CHINCHILLA), "--columns", "params"], "expected OURS=THEIRS"),
        (["fit", str(CHINCHILLA), "--columns", "params=Size,flops=Training FLOP"], "no column"),
        (["fit", str(CHINCHILLA), "--law", "kaplen", "--columns", COLUMNS], "unknown law 'kaplen'"),
        (["predict", "--law", "hoffmann2022"], "expected --params and --tokens, or --points"),
        (["laws", "show", "nothing"], "unknown law 'nothing'"),
        (["run", "nowhere.toml"], "nowhere.toml: no such file"),
        (["laws", "list", "--plugin", "nowhere.py"], "no such file"),
        (["rum"], "did you mean 'run'"),
    ],
)
def test_a_mistake_is_one_clear_error(scalax: Command, args: list[str], message: str) -> None:
    done = scalax(*args)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_local_file_registers_a_law_that_every_command_knows(
    scalax: Command, tmp_path: Path
) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        '''
import scalax as sx

class Mine(sx.Law):
    """L = E + A / (N D)^alpha: a law without derivatives of its own."""

    name = "mine"
    title = "one power of compute"
    equation = "L = E + A / (N D)^alpha"
    source = "a test"
    coefficients = (
        sx.Coefficient("E", "linear", 1e-9, 1e3),
        sx.Coefficient("A", "linear", 1e-9, 1e15),
        sx.Coefficient("alpha", "exponent", 1e-3, 3, (0.1, 0.2, 0.3, 0.4)),
    )

    def basis(self, xp, c, x):
        return [1.0, (x["params"] * x["tokens"]) ** -c["alpha"]]

    def loss(self, xp, c, x):
        return c["E"] + c["A"] * self.basis(xp, c, x)[1]

sx.register("law", "mine", Mine)
'''
    )
    runs = tmp_path / "runs.csv"
    rows = [(n, d, 1.5 + 300 / (n * d) ** 0.17) for n in (1e6, 1e7, 1e8) for d in (1e8, 1e9)]
    runs.write_text("params,tokens,loss\n" + "".join(f"{n},{d},{y!r}\n" for n, d, y in rows))
    done = scalax("fit", runs, "--law", "mine", "--plugin", plugin, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)["coefficients"]
    assert result == pytest.approx({"E": 1.5, "A": 300, "alpha": 0.17}, rel=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def broken(:\n", "does not run (SyntaxError"),
        ("import nothing_of_the_kind\n", "does not run (ModuleNotFoundError"),
        ("x = 1\n", "registers nothing"),
        ("import scalax as sx\nsx.register('law', 'chinchilla', 3)\n", "the name is taken"),
        ("import scalax as sx\nsx.register('lawn', 'x', 3)\n", "did you mean 'law'"),
    ],
)
def test_a_broken_local_file_is_one_clear_error(
    scalax: Command, tmp_path: Path, text: str, message: str
) -> None:
    plugin = tmp_path / "broken.py"
    plugin.write_text(text)
    done = scalax("laws", "list", "--plugin", plugin)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "laws list",
        "laws show hoffmann2022",
        "allocate --law hoffmann2022 --flops 1e22",
        "allocate --law hoffmann2022 --chips v5e-256 --days 30",
        "predict --law hoffmann2022 --params 7e9 --tokens 1e12",
        "frontier --law hoffmann2022 --flops 1e20:1e24",
    ],
)
def test_a_query_imports_nothing_heavy(command: str) -> None:
    """Commands that answer a query import none of these packages, so that they start fast."""
    heavy = [
        "array_record", "beartype", "flax", "grain", "jax", "jaxtyping", "matplotlib", "narwhals",
        "optax", "orbax", "pandas", "polars", "pyarrow", "scipy", "tensorflow_datasets",
    ]  # fmt: skip
    if not command.startswith("frontier") and "--chips" not in command:
        heavy.append("pydantic")  # loaded with the table of chips alone
    code = (
        "import sys\n"
        "from scalax.cli.app import cli\n"
        f"cli.main({command.split()}, standalone_mode=False)\n"
        f"loaded = [name for name in {heavy} if name in sys.modules]\n"
        "assert not loaded, loaded"
    )
    env = {k: v for k, v in os.environ.items() if k != "SCALAX_CHECK_SHAPES"}  # as users run it
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=env,
    )
    assert done.returncode == 0, done.stderr
