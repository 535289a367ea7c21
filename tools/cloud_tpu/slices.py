"""Parses the names of Google Cloud's TPU slices: `v5e-256`, `v5p-128`, `2xv5e-256`."""

from __future__ import annotations

import math
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from scalax.errors import ScalaxError, suggest
from scalax.hardware import slices
from scalax.hardware.chips import read_chips


@dataclass(frozen=True)
class Slice:
    """One or several equal slices.

    Attributes:
        slices: Number of slices, connected by the data-centre network.
        accelerator_type: Value of Cloud TPU's ``--accelerator-type``.
        runtime: Value of Cloud TPU's ``--runtime-version``.
        topology: Chips along each dimension.
        gke_accelerator: Value of GKE's node label of the generation.
        machine_type: Machine type of GKE.
    """

    slices: int
    accelerator_type: str
    runtime: str
    topology: str
    gke_accelerator: str
    machine_type: str

    @property
    def chips(self) -> int:
        """The number of chips of one slice."""
        return math.prod(map(int, self.topology.split("x")))

    @property
    def chips_per_machine(self) -> int:
        """The number of chips of one GKE node."""
        return min(self.chips, 4)

    @property
    def machines(self) -> int:
        """The number of GKE nodes of one slice."""
        return self.chips // self.chips_per_machine


def parse_slice(text: str) -> Slice:
    """Parses the value of `--slice`.

    Raises:
        ScalaxError: Google offers no such slice; the fix lists those that exist.
    """
    table = tomllib.loads(Path(__file__).with_name("slices.toml").read_text(encoding="utf-8"))
    match = re.fullmatch(r"(?:([1-9]\d*)x)?([a-z0-9]+)-(\d+)", text)
    if match is None:
        raise ScalaxError(
            f"expected GENERATION-COUNT, got {text!r}",
            where="--slice",
            fix="write v5e-16, or 2xv5e-16 for two slices",
        )
    times, generation, count = match.groups()
    if generation not in table:
        raise ScalaxError(
            f"no TPU generation {generation!r}", where="--slice", fix=suggest(generation, table)
        )
    facts = table[generation]
    chips = read_chips()
    chip = chips.by_name[generation]
    each, unit = (2, "TensorCores") if chip.counted == "cores" else (1, "chips")
    small = [each * math.prod(map(int, shape.split("x"))) for shape in chip.slices]
    offered = [*small, *facts.get("larger", [])]
    if int(count) not in offered:
        raise ScalaxError(
            f"no {generation} slice has {count} {unit}",
            where=f"--slice {text}",
            fix=f"{generation} comes with {', '.join(map(str, offered))}",
        )
    topology = "x".join(map(str, slices.parse_slice(f"{generation}-{int(count)}", chips).shape))
    return Slice(
        slices=int(times or 1),
        accelerator_type=f"{facts['accelerator']}-{int(count)}",
        runtime=facts["runtime"],
        topology=topology,
        gke_accelerator=facts["gke_accelerator"],
        machine_type=f"{facts['machine']}-{1 if topology == '1x1' else 4}t",
    )
