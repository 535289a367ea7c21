"""Parameters and FLOPs of open models, against what their makers print."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from scalax.errors import ScalaxError
from scalax.shapes.presets import preset, presets, read_shape
from scalax.shapes.transformer import attended_keys, counts, train_flops


@pytest.mark.parametrize("name", presets())
def test_a_preset_has_the_parameters_that_its_source_prints(name: str) -> None:
    counted, known = counts(preset(name)), presets()[name]
    exact = known.params % 1e6 != 0
    # Chinchilla's 70 B is a rounded name; the others print at least four digits.
    near = 0 if exact else 1e-3 if name == "chinchilla-70b" else 5e-5
    assert counted.params == pytest.approx(known.params, rel=near)
    if known.active is not None:
        assert counted.params_active == pytest.approx(known.active, rel=5e-3)


def test_gemma_divides_into_the_embedding_and_the_rest_of_its_paper() -> None:
    counted = counts(preset("gemma-2-9b"))
    # Gemma team 2024, arXiv:2408.00118, table 2: 917,962,752 and 8,324,201,984.
    assert counted.params_embedding == 917_962_752
    assert counted.params - counted.params_embedding == 8_324_201_984


def test_chinchilla_is_counted_as_its_paper_counts() -> None:
    # Hoffmann et al. 2022, table A9, last row: 16,183 million; it may count a few vectors more.
    last = replace(
        preset("chinchilla-70b"), width=5120, hidden=20480, heads=40, kv_heads=40, layers=47
    )
    assert counts(last).params == pytest.approx(16_183e6, rel=2e-4)


def test_gpt3_costs_the_flops_of_its_paper() -> None:
    # Brown et al. 2020, table D.1: 3.14e23 FLOPs for 300 billion tokens, counted as 6 N D; the
    # exact count adds attention and leaves out positions.
    flops = train_flops(preset("gpt-3-175b")) * 300e9
    assert flops == pytest.approx(3.14e23, rel=0.02)


def test_local_attention_meets_fewer_keys() -> None:
    gemma = preset("gemma-2-9b")
    # Half of the layers see all before them, (8192 + 1) / 2 on average; the others at most 4096.
    local = (4096 * 4097 / 2 + 4096 * 4096) / 8192
    assert attended_keys(gemma) == pytest.approx((4096.5 + local) / 2)
    assert attended_keys(replace(gemma, seq_len=4096)) == 2048.5


def test_only_the_standard_transformer_is_trained() -> None:
    assert preset("llama-3.1-8b").variant is None
    for name in ("mixtral-8x7b", "gemma-2-9b", "gpt-3-175b", "chinchilla-70b"):
        assert preset(name).variant is not None


def test_a_shape_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "shape.toml"
    file.write_text("vocab = 32000\nwidth = 4096\nlayers = 32\nheads = 32\nhidden = 11008\n")
    assert counts(read_shape(file)).params == presets()["llama-2-7b"].params
    file.write_text("vocab = 32000\nwidht = 4096\nlayers = 32\nheads = 32\nhidden = 11008\n")
    with pytest.raises(ScalaxError, match="did you mean 'width'"):
        read_shape(file)
    file.write_text("vocab = 100\nwidth = 100\nlayers = 2\nheads = 3\nhidden = 10\n")
    with pytest.raises(ScalaxError, match="not divisible by 3 heads"):
        read_shape(file)
    with pytest.raises(ScalaxError, match="cannot read"):
        read_shape(tmp_path / "none.toml")
