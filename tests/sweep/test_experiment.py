"""The experiment file: every mistake in it is one clear error, before any work."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from scalax.errors import ScalaxError
from scalax.sweep.experiment import read_experiment
from scalax.sweep.run import prepare


def test_what_is_written_back_reads_as_the_same_experiment(
    experiment: Path, tmp_path: Path
) -> None:
    first = read_experiment(experiment)
    copy = tmp_path / "tiny.toml"
    copy.write_text(first.to_toml())
    assert read_experiment(copy) == first
    assert tomllib.loads(first.to_toml())["train"]["schedule"] == "wsd"


def test_settings_are_overridden_in_toml(experiment: Path) -> None:
    found = read_experiment(experiment, ["sweep.params=[2e4, 40000]", "seed=7", "check.tokens=9e4"])
    assert found.sweep.params == [20000, 40000]
    assert (found.seed, found.check.tokens) == (7, 90000)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sweep.params=[]", r"sweep\.params: expected .*at least 1 value"),
        ("sweep.tokens=[1e5, -3]", r"sweep\.tokens\[1\]: expected a number greater than 0, got -3"),
        ('sweep.tokens=["1e5"]', r"sweep\.tokens\[0\]: expected .*number, got '1e5'"),
        ("sweep.tokens=[nan]", r"sweep\.tokens\[0\]: expected .*finite number"),
        ("train.learning_rat=0.1", r"train\.learning_rat: unknown key.*'learning_rate'"),
        ("train.batch=0", r"train\.batch: expected"),
        ("trane.batch=4", r"trane: unknown key.*'train'"),
        ("sweep.kind='gird'", r"sweep: expected .*'grid'"),
        ("model.family='transformr'", r"unknown model 'transformr'; did you mean 'transformer'"),
        ("model.tie=true", r"model\.tie: unknown key; did you mean 'tied'"),
        ("data.dataset='stdlb'", r"unknown dataset 'stdlb'; did you mean 'stdlib'"),
        ("data.file='x'", r"data\.file: unknown key.*'files'"),
        ("fit.law='chinchila'", r"unknown law 'chinchila'; did you mean 'chinchilla'"),
        ("fit.metric='los'", r"does not measure 'los'; did you mean 'loss'"),
        ("fit.law='precision'", r"law 'precision' reads bits_weights.* no run of a sweep measures"),
        (
            "train.mesh={foo=1}",
            r"train\.mesh\.foo: expected 'data', 'fsdp', 'tensor' or 'expert', got 'foo'",
        ),
        (
            "train.mesh={data=0}",
            r"train\.mesh\.data: expected a number of at least 1 or 'auto', got 0",
        ),
        ("check.params=[1e5, 2e5]", r"check: expected .*equal length"),
        ("sweep.params=[100]", r"no transformer of vocabulary 256 has about 100 parameters"),
        ("sweep.tokens=[10]", r"10 tokens are less than a batch of 256"),
        ("sweep.tokens=[8000, 8001]", r"come out the same"),
        ("sweep.axes.lr=[1, 2]", r"sweep\.axes\.lr: unknown setting"),
        ("sweep.axes.learning_rate=[0.1, -1]", r"train\.learning_rate: expected"),
        ('sweep.params="auto"', r"sweep\.params: the transformer of \[model\] has no one size"),
        ("model.layers=9", r"no transformer of vocabulary 256 with layers 9 has about 14,000"),
        (
            "model={family='transformer', width=96, heads=4, head_dim=16}",
            r"model\.width: a width of 96 is not made up of heads 4, head_dim 16",
        ),
        (
            "model={family='transformer', heads=3, kv_groups=2}",
            r"model\.kv_groups: 3 heads are not divisible into groups of 2",
        ),
        (
            "sweep={kind='list', runs=[{tokens=4e3, model={family='convnet'}}]}",
            r"sweep\.runs\[0\]: expected keys of one family",
        ),
        ("seed=-1", r"seed: expected a number of at least 0"),
        ("seed", r"--set: expected section\.key=value, got 'seed'"),
        ("name=my sweep", r"--set name: expected a TOML value, got 'my sweep'"),
    ],
)
def test_a_mistake_is_named(experiment: Path, override: str, message: str) -> None:
    with pytest.raises(ScalaxError, match=message) as caught:
        prepare(experiment, [override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[data", "not a TOML file"),
        ("", "data: missing"),
        (
            '[data]\ndataset="stdlib"\n[model]\nfamily="transformer"\n[sweep]\n',
            "sweep.kind: missing",
        ),
        ("\xff", "not a TOML file"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "broken.toml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ScalaxError, match=message):
        prepare(file)
    with pytest.raises(ScalaxError, match="no such file"):
        prepare(tmp_path / "missing.toml")
