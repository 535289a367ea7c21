"""Parameters and FLOPs of open models, against what their makers print."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from scalax.errors import ScalaxError
from scalax.shapes import transformer
from scalax.shapes.architecture import architecture
from scalax.shapes.presets import preset, presets, read_shape


@pytest.mark.parametrize("name", presets())
def test_a_preset_has_the_parameters_that_its_source_prints(name: str) -> None:
    found, known = preset(name).counts(), presets()[name]
    exact = known.params % 1e6 != 0
    # Chinchilla's 70 B is a rounded name; the others print at least four digits.
    near = 0 if exact else 1e-3 if name == "chinchilla-70b" else 5e-5
    assert found.params == pytest.approx(known.params, rel=near)
    if known.active is not None:
        assert found.params_active == pytest.approx(known.active, rel=5e-3)


def test_gemma_divides_into_the_embedding_and_the_rest_of_its_paper() -> None:
    found = preset("gemma-2-9b").counts()
    # Gemma team 2024, arXiv:2408.00118, table 2: 917,962,752 and 8,324,201,984.
    assert found.params_embedding == 917_962_752
    assert found.params - found.params_embedding == 8_324_201_984


def test_chinchilla_is_counted_as_its_paper_counts() -> None:
    # Hoffmann et al. 2022, table A9, last row: 16,183 million; it may count a few vectors more.
    last = replace(
        preset("chinchilla-70b"), width=5120, hidden=20480, heads=40, kv_heads=40, layers=47
    )
    assert last.counts().params == pytest.approx(16_183e6, rel=2e-4)


def test_gpt3_costs_the_flops_of_its_paper() -> None:
    # Brown et al. 2020, table D.1: 3.14e23 FLOPs for 300 billion tokens, counted as 6 N D; the
    # exact count adds attention and leaves out positions.
    flops = preset("gpt-3-175b").flops_per_token("causal") * 300e9
    assert flops == pytest.approx(3.14e23, rel=0.02)


def test_local_attention_meets_fewer_keys() -> None:
    gemma = preset("gemma-2-9b")
    # Half of the layers see all before them, (8192 + 1) / 2 on average; the others at most 4096.
    local = (4096 * 4097 / 2 + 4096 * 4096) / 8192
    assert gemma.attended() == pytest.approx((4096.5 + local) / 2)
    assert replace(gemma, seq_len=4096).attended() == 2048.5


@pytest.mark.parametrize("tied", [True, False])
def test_a_trained_shape_counts_the_same_as_an_architecture(tied: bool) -> None:
    shape = transformer.shape_for(1e8, vocab=32000, seq_len=512, tied=tied, kv_groups=2)
    arch = architecture(shape)
    assert arch.counts() == transformer.counts(shape)
    for way in ("causal", "full"):
        assert arch.flops_per_token(way) == transformer.flops_per_token(shape, way)
    assert arch.trained() == shape


def test_only_what_scalax_builds_is_trained() -> None:
    assert preset("llama-3.1-8b").trained() is not None
    for name in ("mixtral-8x7b", "gemma-2-9b", "gpt-3-175b", "chinchilla-70b"):
        assert preset(name).trained() is None


def test_a_shape_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "shape.toml"
    file.write_text("vocab = 32000\nwidth = 4096\nlayers = 32\nheads = 32\nhidden = 11008\n")
    assert read_shape(file).counts().params == presets()["llama-2-7b"].params
    file.write_text("vocab = 32000\nwidht = 4096\nlayers = 32\nheads = 32\nhidden = 11008\n")
    with pytest.raises(ScalaxError, match="did you mean 'width'"):
        read_shape(file)
    file.write_text("vocab = 100\nwidth = 100\nlayers = 2\nheads = 3\nhidden = 10\n")
    with pytest.raises(ScalaxError, match="not 3 equal heads"):
        read_shape(file)
    with pytest.raises(ScalaxError, match="cannot read"):
        read_shape(tmp_path / "none.toml")
