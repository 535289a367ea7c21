"""Commands that evaluate laws: their output and their errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scalax.cli import main

KEYS = {"flops", "params", "tokens", "tokens_per_param", "loss", "intervals"}
KEYS |= {"batch_tokens", "learning_rate"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scalax", *arguments], capture_output=True, text=True, check=False
    )


def answer(*arguments: str) -> Any:
    done = run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def table(path: Path, scale: float) -> str:
    """A sweep of a Chinchilla law; a smaller scale is a better recipe."""
    rng = np.random.default_rng(0)
    lines = ["params,tokens,flops,loss"]
    for n in np.geomspace(1e7, 1e9, 7):
        for d in np.geomspace(1e9, 1e11, 7):
            loss = 1.7 + scale * (400 / n**0.34 + 400 / d**0.28)
            lines.append(f"{n},{d},{6 * n * d},{loss * np.exp(1e-4 * rng.normal())}")
    path.write_text("\n".join(lines))
    return str(path)


@pytest.mark.parametrize("law", ["hoffmann2022", "llama3", "kaplan2020", "muennighoff2023"])
def test_allocate_keeps_its_keys(law: str) -> None:
    result = answer("allocate", "--law", law, "--flops", "1e22")
    assert set(result) >= KEYS and set(result["intervals"]) == {"params", "tokens", "loss"}
    assert (result["loss"] is None) == (law == "llama3")


def test_allocate_counts_inference() -> None:
    whole = answer(
        *("allocate", "--law", "hoffmann2022", "--inference-tokens", "1e12", "--flops", "1e23")
    )
    assert whole["training_flops"] + whole["inference_flops"] == pytest.approx(1e23)
    words = run(
        *("allocate", "--law", "hoffmann2022", "--inference-tokens", "1e12", "--target-loss", "2")
    )
    assert words.returncode == 0 and "for inference" in words.stdout


def test_allocate_says_where_serving_leaves_the_papers_own_rule() -> None:
    # Kaplan et al.'s printed rule is not the least of their law of the loss.
    options = ("--flops", "1e23", "--inference-tokens", "0")
    words = "not the paper's own rule"
    assert any(words in n for n in answer("allocate", "--law", "kaplan2020", *options)["notes"])
    result = answer("allocate", "--law", "hoffmann2022", *options)
    assert not any(words in n for n in result["notes"])


def test_a_query_imports_neither_jax_nor_scipy() -> None:
    for arguments in (
        ["allocate", "--law", "hoffmann2022", "--flops", "5.76e23"],
        ["allocate", "--law", "muennighoff2023", "--flops", "1e22"],
        ["predict", "--law", "kaplan2020", "--params", "1e9", "--tokens", "1e10"],
        ["laws", "list"],
    ):
        code = (
            f"import sys; sys.argv = {['scalax', *arguments]!r}\n"
            "from scalax.cli import main\n"
            "try: main()\n"
            "except SystemExit as stop: assert not stop.code\n"
            "assert not {'jax', 'scipy', 'flax', 'pyarrow'} & set(sys.modules)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("allocate --law llama3", "Missing option '--flops' (or '--target-loss')"),
        ("allocate --law steplaw2025 --flops 1e21", "not the split of a budget"),
        ("allocate --law llama3 --flops 1e22 --inference-tokens 1e12", "no loss"),
        (
            "allocate --law hoffmann2022 --flops 1e22 --inference-tokens 1e12 --target-loss 2",
            "exactly one",
        ),
        ("allocate --law hoffmann2022 --inference-tokens 1e12", "exactly one"),
        ("allocate --law hoffmann2022 --flops 1e22 --given bits=8", "reads no 'bits'"),
        ("allocate --law muennighoff2023 --flops 1e22 --given unique_tokens", "NAME=VALUE"),
        ("allocate --law hoffmann2022 --flops 1e22 --given tokens=1", "write --tokens"),
        ("predict --law llama3 --params 1e9 --tokens 1e10", "no loss"),
        ("predict --law hoffmann2022 --params 1e9", "expected --tokens"),
        ("predict --law hoffmann2022 --params 1e9 --tokens 1e9 --bytes-per-token 0", "bytes"),
        ("predict --law hoffmann2022 --params 1e9 --tokens 1e9 --given foo=3", "reads no 'foo'"),
        ("gain a.csv b.csv --flops 1e20 --seed -1", "--seed"),
        ("laws show llama4", "did you mean 'llama3'"),
    ],
)
def test_a_mistake_is_told_and_exits_2(
    arguments: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["scalax", *arguments.split()])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert words in capsys.readouterr().err


def test_laws_list_and_show_keep_their_keys() -> None:
    listed = answer("laws", "list")
    names = [law["name"] for law in listed]
    assert {"joint", "kaplan", "moe", "llama3", "steplaw2025"} <= set(names)
    assert len(names) == len(set(names))
    for law in [*listed, answer("laws", "show", "porian2024"), answer("laws", "show", "m4")]:
        assert {"name", "coefficients", "source", "equation", "counting"} <= set(law)
        assert law["coefficients"] and law["source"] and law["equation"]


def test_gain_of_two_tables(tmp_path: Path) -> None:
    # Both terms 0.9 times: alpha and beta near 0.31 on the frontier make it 0.9^(-1 / 0.154).
    old, new = table(tmp_path / "old.csv", 1.0), table(tmp_path / "new.csv", 0.9)
    result = answer("gain", old, new, "--flops", "1e20", "--bootstrap", "50")
    exponent = 0.34 * 0.28 / (0.34 + 0.28)
    assert result["multiplier"] == pytest.approx(0.9 ** (-1 / exponent), rel=0.05)
    assert result["low"] < result["multiplier"] < result["high"]
    itself = answer("gain", old, old, "--flops", "1e20", "--bootstrap", "50")
    assert itself["multiplier"] == pytest.approx(1.0)
    assert itself["low"] < 0.9999 < 1.0001 < itself["high"]
    done = run(
        "fit", new, "--law", "chinchilla", "--bootstrap", "50", "--out", str(tmp_path / "new.json")
    )
    assert done.returncode == 0, done.stderr
    same = answer("gain", old, str(tmp_path / "new.json"), "--flops", "1e20")
    assert same["multiplier"] == pytest.approx(result["multiplier"], rel=1e-6)


def test_a_metric_follows_from_the_loss(tmp_path: Path) -> None:
    second = tmp_path / "error.json"
    second.write_text(
        json.dumps(
            {"law": "loss-to-error", "coefficients": {"epsilon": 0.85, "k": 2.08, "gamma": 0.756}}
        )
    )
    at = ["predict", "--law", "gadre2024", "--params", "1.44e9", "--tokens", "2.88e10"]
    (result,) = answer(*at, "--then", str(second))
    assert result["metric"] == pytest.approx(0.85 - 2.08 * np.exp(-0.756 * result["loss"]))
    (bits,) = answer(*at, "--bytes-per-token", "4")
    assert bits["loss"] == pytest.approx(result["loss"] / 4 / np.log(2))


def test_points_may_hold_a_laws_other_columns(tmp_path: Path) -> None:
    points = tmp_path / "points.csv"
    points.write_text("params,tokens,unique_tokens\n1e9,4e10,4e10\n1e9,4e10,1e9\n")
    once, often = answer("predict", "--law", "muennighoff2023", "--points", str(points))
    assert often["loss"] > once["loss"]


def test_points_hold_any_two_of_params_tokens_and_flops(tmp_path: Path) -> None:
    points = tmp_path / "points.csv"
    for header, row in (
        ("params,tokens", "1e9,4e10"),
        ("params,flops", "1e9,2.4e20"),
        ("tokens,flops", "4e10,2.4e20"),
    ):
        points.write_text(f"{header}\n{row}\n")
        (result,) = answer("predict", "--law", "hoffmann2022", "--points", str(points))
        assert result["params"] == pytest.approx(1e9)
        assert result["tokens"] == pytest.approx(4e10)
        assert result["flops"] == pytest.approx(2.4e20)
    # Compute that is given counts, where 6ND would be 2.4e20.
    points.write_text("params,tokens,flops\n1e9,4e10,3e20\n")
    (result,) = answer("predict", "--law", "hoffmann2022", "--points", str(points))
    assert result["flops"] == 3e20
    points.write_text("params\n1e9\n")
    done = run("predict", "--law", "hoffmann2022", "--points", str(points))
    assert done.returncode == 2 and "tokens" in done.stderr
