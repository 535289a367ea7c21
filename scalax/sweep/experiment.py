"""The experiment file: its sections, how it is read, and how it is written with all defaults."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from scalax.errors import ScalaxError
from scalax.files import read_bytes
from scalax.fit.settings import FitSettings
from scalax.models.compute import Recompute
from scalax.schema import Settings, parse
from scalax.sweep.overrides import apply_override
from scalax.sweep.recipe import Positive, RecipeSection

Positives = Annotated[list[Positive], Field(min_length=1)]
Auto = Literal["auto"]
MeshSizes = dict[Literal["data", "fsdp", "tensor", "expert"], Annotated[int, Field(ge=1)] | Auto]
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
Axes = dict[str, Annotated[list[Any], Field(min_length=1)]]


class _Open(BaseModel):
    """A section with additional keys that a plugin defines and checks."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    @property
    def options(self) -> dict[str, Any]:
        """Returns the plugin's keys."""
        return dict(self.model_extra or {})


class Data(_Open):
    """``[data]``: the name of the dataset, and the keys of that dataset."""

    dataset: str


class Model(_Open):
    """``[model]``: the name of the model family, and the keys of that family."""

    family: str


class Grid(Settings):
    """``[sweep]`` with ``kind = "grid"``: every size with every token count.

    ``params = "auto"`` uses the size of the shape that ``[model]`` gives.
    """

    kind: Literal["grid"]
    params: Positives | Auto
    tokens: Positives
    axes: Axes = Field(default_factory=dict)


class IsoFlop(Settings):
    """``[sweep]`` with ``kind = "isoflop"``: several sizes at each compute budget."""

    kind: Literal["isoflop"]
    flops: Positives
    params: Annotated[list[Positives], Field(min_length=1)]
    axes: Axes = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_list_a_budget(self) -> IsoFlop:
        if len(self.params) != len(self.flops):
            raise ValueError(f"one list of params for each of the {len(self.flops)} budgets")
        return self


class ListedRun(Settings):
    """One run of a list; its keys of ``[model]`` and ``[train]`` override those sections.

    ``params = "auto"`` uses the size of the shape that ``[model]`` gives. Runs of one size that
    name the same trunk branch from it and share its cost.
    """

    params: Positive | Auto = "auto"
    tokens: Positive
    model: dict[str, Any] = Field(default_factory=dict)
    train: dict[str, Any] = Field(default_factory=dict)
    trunk: Annotated[str, Field(pattern=NAME)] | None = None

    @model_validator(mode="after")
    def _one_family(self) -> ListedRun:
        if "family" in self.model:
            raise ValueError("no key family: all runs use the family of [model]")
        return self


class Listed(Settings):
    """``[sweep]`` with ``kind = "list"``: the given runs."""

    kind: Literal["list"]
    runs: Annotated[list[ListedRun], Field(min_length=1)]
    axes: Axes = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_size_a_trunk(self) -> Listed:
        first: dict[str, ListedRun] = {}
        for run in self.runs:
            if run.trunk is not None:
                other = first.setdefault(run.trunk, run)
                if (run.params, run.model, run.train) != (other.params, other.model, other.train):
                    raise ValueError(
                        f"equal params, model and train in all runs of trunk {run.trunk}"
                    )
        return self


class Train(Settings):
    """``[train]``: how each run is trained. ``auto`` uses the family's recipe.

    Attributes:
        schedule: Form of the learning rate; with ``wsd``, the runs of one size share a trunk.
        batch: Examples in a batch.
        learning_rate: Peak learning rate.
        optimizer: The optimiser.
        weight_decay: Decoupled weight decay.
        beta1: Decay of Adam's first moment, or the momentum of SGD.
        beta2: Decay of Adam's second moment.
        clip: Largest norm of the gradient.
        warmup: Warm-up, as a share of the shortest run's steps.
        decay: Share of a run's steps in which the ``wsd`` schedule decays.
        precision: Precision of the computation; parameters are always float32.
        mesh: Devices along each axis.
        ensemble: Number of similar runs to train as one program; ``auto`` measures it.
        recompute: What the backward pass computes again to save memory.
        accumulate: Parts of a batch that are computed one after another.
        eval_tokens: Held-out tokens (or examples) scored at the end.
        skip_spikes: Standard deviations of the log gradient norm beyond which a batch is skipped.
        eval_every: Tokens (or examples) between scores during training.
        checkpoint_seconds: Longest time between checkpoints, in seconds.
        hang_seconds: Shortest duration of one step that counts as a hang, in seconds.
        writers: Services that also receive the metrics.
        keep_checkpoints: Checkpoints kept of each run.
    """

    schedule: Literal["wsd", "cosine", "constant"] = "wsd"
    batch: Annotated[int, Field(ge=1)] | Auto = "auto"
    learning_rate: Positive | Auto = "auto"
    optimizer: Literal["adamw", "sgd", "auto"] = "auto"
    weight_decay: Annotated[float, Field(ge=0)] | Auto = "auto"
    beta1: Annotated[float, Field(ge=0, lt=1)] | Auto = "auto"
    beta2: Annotated[float, Field(ge=0, lt=1)] | Auto = "auto"
    clip: Positive | Auto | Literal["none"] = "auto"
    warmup: Annotated[float, Field(ge=0, lt=1)] | Auto = "auto"
    decay: Annotated[float, Field(gt=0, le=1)] = 0.2
    precision: Literal["f32", "bf16"] = "f32"
    mesh: Auto | MeshSizes = "auto"
    ensemble: Annotated[int, Field(ge=2)] | Literal["auto", "never"] = "auto"
    recompute: Recompute = "none"
    accumulate: Annotated[int, Field(ge=1)] = 1
    eval_tokens: Annotated[int, Field(ge=1)] = 262_144
    skip_spikes: Positive | Literal["none"] = "none"
    eval_every: Positive | Literal["none"] = "none"
    checkpoint_seconds: Positive = 60.0
    hang_seconds: Positive | Literal["none"] = 300.0
    writers: list[Literal["tensorboard", "wandb"]] = Field(default_factory=list)
    keep_checkpoints: Annotated[int, Field(ge=2)] = 2

    @field_validator("mesh")
    @classmethod
    def _one_auto(cls, mesh: Any) -> Any:
        if isinstance(mesh, dict) and list(mesh.values()).count("auto") > 1:
            raise ValueError('"auto" for at most one axis of the mesh')
        return mesh

    @model_validator(mode="after")
    def _no_mesh_with_ensemble(self) -> Train:
        if isinstance(self.ensemble, int) and self.mesh != "auto":
            raise ValueError('mesh = "auto" with ensemble, which divides its runs over the devices')
        return self


SHARED_SETTINGS = ("checkpoint_seconds", "writers", "keep_checkpoints", "hang_seconds", "ensemble")
"""Keys of ``[train]`` that all runs of a sweep share; other keys may differ between runs."""


class Check(Settings):
    """``[check]``: larger runs that are trained after the fit to test its forecast."""

    params: Positive | Positives
    tokens: Positive | Positives

    @property
    def points(self) -> list[tuple[float, float]]:
        """Returns params and tokens of each run."""
        params = self.params if isinstance(self.params, list) else [self.params]
        tokens = self.tokens if isinstance(self.tokens, list) else [self.tokens]
        return list(zip(params, tokens, strict=True))

    @model_validator(mode="after")
    def _equal_lengths(self) -> Check:
        try:
            _ = self.points
        except ValueError:
            raise ValueError("lists of equal length in check.params and check.tokens") from None
        return self


class Experiment(Settings):
    """A whole experiment file."""

    name: Annotated[str, Field(pattern=NAME)]
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    data: Data
    model: Model
    sweep: Annotated[Grid | IsoFlop | Listed, Field(discriminator="kind")]
    recipe: RecipeSection = RecipeSection()
    train: Train = Train()
    fit: FitSettings = FitSettings()
    check: Check | None = None

    @model_validator(mode="after")
    def _trunks_decay(self) -> Experiment:
        runs = self.sweep.runs if isinstance(self.sweep, Listed) else []
        schedules = {run.train.get("schedule", self.train.schedule) for run in runs if run.trunk}
        if schedules - {"wsd"}:
            raise ValueError('train.schedule = "wsd" where runs name a trunk')
        return self

    def to_toml(self) -> str:
        """Returns the experiment as TOML, with all defaults."""
        import tomlkit

        return tomlkit.dumps(self.model_dump(exclude_none=True))


def read_experiment(path: str | Path, overrides: Iterable[str] = ()) -> Experiment:
    """Reads and checks an experiment file.

    Args:
        path: The TOML file.
        overrides: Settings to change, each as ``section.key=value`` with the value in TOML.

    Raises:
        ScalaxError: The file is missing or not TOML, a key is unknown or missing, or a value is
            wrong; the error names the file and the key.
    """
    try:
        values = tomllib.loads(read_bytes(path).decode())
    except FileNotFoundError:
        raise ScalaxError(
            "no such file",
            where=str(path),
            fix="give an experiment, such as experiments/quickstart.toml",
        ) from None
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as error:
        raise ScalaxError(
            f"not a TOML file: {error}", where=str(path), fix="correct the line that it names"
        ) from None
    values.setdefault("name", Path(path).stem)
    for override in overrides:
        apply_override(values, override)
    _check_kind(values, str(path))
    return parse(Experiment, values, where=str(path))


def _check_kind(values: Mapping[str, Any], where: str) -> None:
    """Raises an error with the valid kinds if ``sweep.kind`` is missing."""
    sweep = values.get("sweep")
    if isinstance(sweep, Mapping) and "kind" not in sweep:
        raise ScalaxError(
            "missing key",
            where=f"{where}: sweep.kind",
            fix='write kind = "grid", "isoflop" or "list"',
        )
