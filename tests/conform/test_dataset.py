"""The built-in datasets pass their check, and each line of the check can fail."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scalax as sx
from scalax import registry
from scalax.conform.check import check_plugin
from tests.conform.plugins import GoodData, Opened, Rows, with_spec


@pytest.mark.parametrize("name", ["stdlib", "text"])
def test_a_built_in_dataset_passes(name: str, corpus: Path) -> None:
    options = {"seq_len": 64} | ({"files": [str(corpus)]} if name == "text" else {})
    [report] = check_plugin(f"dataset:{name}", options)
    assert [line for line in report.lines if not line.passed] == []
    assert len(report.lines) == 7


class Changed(GoodData):
    """Opens the correct data, then breaks it."""

    def open(self, name: str, options: Mapping[str, Any]) -> Opened:
        return self.break_it(super().open(name, options))

    def break_it(self, opened: Opened) -> Opened:
        return opened


class Empty(Changed):
    def break_it(self, opened: Opened) -> Opened:
        opened.splits["train"] = Rows(0, 0)
        return with_spec(opened, train_examples=0)


class Miscounted(Changed):
    def break_it(self, opened: Opened) -> Opened:
        return with_spec(opened, train_examples=41)


class Mistyped(Changed):
    def break_it(self, opened: Opened) -> Opened:
        return with_spec(
            opened, features={**opened.spec.features, "image": sx.Feature((3,), "float32")}
        )


class Anonymous(Changed):
    def break_it(self, opened: Opened) -> Opened:
        return with_spec(opened, fingerprint="")


class Drawn(Rows):
    """A different example on each read of an index."""

    def __getitem__(self, index: int) -> sx.Example:
        return super().__getitem__(index + next(_CALLS))


_CALLS = itertools.count()


class Random(Changed):
    def break_it(self, opened: Opened) -> Opened:
        opened.splits["train"] = Drawn(0, 40)
        return opened


class Leaking(Changed):
    def break_it(self, opened: Opened) -> Opened:
        opened.splits["eval"] = Rows(39, 20)
        return opened


def failed(data: sx.Dataset) -> dict[str, str]:
    """Returns the details of the lines that a dataset fails, by requirement."""
    registry.register("dataset", "good-data", data, origin="a test")
    [report] = check_plugin("dataset:good-data")
    return {line.demand: line.detail for line in report.lines if not line.passed}


def test_a_correct_dataset_passes() -> None:
    assert failed(GoodData()) == {}


@pytest.mark.parametrize(
    ("data", "demand", "why"),
    [
        (Empty, "examples match the spec", "split 'train' has no example"),
        (Miscounted, "examples match the spec", "spec says 41 examples"),
        (Mistyped, "examples match the spec", "expected image to be float32 [3]"),
        (Anonymous, "examples match the spec", "no fingerprint"),
        (Random, "reads are repeatable", "of 'train' differs when opened again"),
        (Random, "reading resumes at any batch", "differs when reading starts at batch"),
        (Leaking, "splits are disjoint", "1 of 20 held-out examples"),
    ],
)
def test_each_line_can_fail(data: type[sx.Dataset], demand: str, why: str) -> None:
    assert why in failed(data())[demand]


def test_hosts_that_read_different_examples_fail_the_check() -> None:
    details = failed(Random())["sharded reads cover each example once"]
    assert "differs when 3 hosts each read a part" in details


def test_options_reach_the_dataset(tmp_path: Path) -> None:
    [report] = check_plugin("dataset:text", {"files": [str(tmp_path / "none.txt")], "seq_len": 8})
    assert "no file matches" in report.lines[-1].detail
    assert np.sum([not line.passed for line in report.lines]) == 1
