"""scalax: train sweeps of small models, fit scaling laws, split compute budgets.

The public names are loaded on first use, so that importing scalax costs nothing.

Example:
    >>> import scalax as sx
    >>> answer = sx.published("hoffmann2022").allocate(flops=5.76e23)
    >>> f"{answer.params:.3g} parameters, {answer.tokens:.3g} tokens"
    '4.04e+10 parameters, 2.38e+12 tokens'
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scalax.conform.check import check_plugin as check_plugin
    from scalax.data.arrays import arrays as arrays
    from scalax.data.base import Dataset as Dataset
    from scalax.data.base import Example as Example
    from scalax.data.base import OpenDataset as OpenDataset
    from scalax.data.base import Source as Source
    from scalax.data.base import Split as Split
    from scalax.data.hold_out import is_held_out as is_held_out
    from scalax.data.tfds import open_builder as open_tfds
    from scalax.errors import JobError as JobError
    from scalax.errors import ScalaxError as ScalaxError
    from scalax.fit.compare import compare as compare
    from scalax.fit.estimate import fit as fit
    from scalax.fit.gain import gain as gain
    from scalax.folders import cache_folder as cache_folder
    from scalax.laws.base import Coefficient as Coefficient
    from scalax.laws.base import ComputeRule as ComputeRule
    from scalax.laws.base import Law as Law
    from scalax.laws.formula import law as law
    from scalax.laws.power_law import Exponent as Exponent
    from scalax.laws.power_law import PowerLaw as PowerLaw
    from scalax.laws.power_law import PowerSum as PowerSum
    from scalax.laws.power_law import Term as Term
    from scalax.models.base import ModelFamily as ModelFamily
    from scalax.models.base import require_features as require_features
    from scalax.models.compute import Compute as Compute
    from scalax.models.compute import constrain as constrain
    from scalax.models.cross_entropy import summed_cross_entropy as summed_cross_entropy
    from scalax.models.decoder import Attention as Attention
    from scalax.models.decoder import Matrix as Matrix
    from scalax.models.decoder import RMSNorm as RMSNorm
    from scalax.models.function_family import FunctionFamily as FunctionFamily
    from scalax.models.function_family import family as family
    from scalax.models.label_sums import label_sums as label_sums
    from scalax.models.sized import SizedFamily as SizedFamily
    from scalax.models.stacked import stacked_layers as stacked_layers
    from scalax.models.traced import traced_flops as traced_flops
    from scalax.plan.pilot import Pilot as Pilot
    from scalax.plan.pilot import plan_pilot as plan
    from scalax.predict.answers import Allocation as Allocation
    from scalax.predict.answers import Prediction as Prediction
    from scalax.predict.fit_result import Fit as Fit
    from scalax.predict.inference import allocate_with_inference as allocate_with_inference
    from scalax.predict.published_law import PublishedLaw as PublishedLaw
    from scalax.predict.published_law import published_fit as published
    from scalax.predict.read_fit import read_fit as read_fit
    from scalax.predict.two_step import TwoStep as TwoStep
    from scalax.registry import load_file as load_plugin
    from scalax.registry import register as register
    from scalax.runs.read import read_runs as read_runs
    from scalax.runs.table import Runs as Runs
    from scalax.schema import Settings as Settings
    from scalax.schema import parse as parse_settings
    from scalax.shapes.base import Counts as Counts
    from scalax.shapes.base import DataSpec as DataSpec
    from scalax.shapes.base import Feature as Feature
    from scalax.shapes.base import Recipe as Recipe
    from scalax.shapes.base import Trial as Trial
    from scalax.shapes.nearest import nearest_shape as nearest_shape
    from scalax.shapes.transformer import TransformerShape as TransformerShape
    from scalax.shapes.transformer import TransformerVariant as TransformerVariant
    from scalax.shapes.transformer import counts as transformer_counts
    from scalax.shapes.transformer import forward_flops as forward_flops
    from scalax.shapes.transformer import train_flops as train_flops
    from scalax.shapes.transformer_search import Fixed as FixedShape
    from scalax.shapes.transformer_search import shape_for as transformer_shape
    from scalax.simulate.sweep import synthetic_table as synthetic_runs
    from scalax.simulate.troubles import Troubles as Troubles
    from scalax.sweep.run import run_experiment as run

_PUBLIC = {
    "Allocation": "scalax.predict.answers:Allocation",
    "Attention": "scalax.models.decoder:Attention",
    "Coefficient": "scalax.laws.base:Coefficient",
    "Compute": "scalax.models.compute:Compute",
    "ComputeRule": "scalax.laws.base:ComputeRule",
    "Counts": "scalax.shapes.base:Counts",
    "DataSpec": "scalax.shapes.base:DataSpec",
    "Dataset": "scalax.data.base:Dataset",
    "Example": "scalax.data.base:Example",
    "Exponent": "scalax.laws.power_law:Exponent",
    "Feature": "scalax.shapes.base:Feature",
    "Fit": "scalax.predict.fit_result:Fit",
    "FixedShape": "scalax.shapes.transformer_search:Fixed",
    "FunctionFamily": "scalax.models.function_family:FunctionFamily",
    "JobError": "scalax.errors:JobError",
    "Law": "scalax.laws.base:Law",
    "Matrix": "scalax.models.decoder:Matrix",
    "ModelFamily": "scalax.models.base:ModelFamily",
    "OpenDataset": "scalax.data.base:OpenDataset",
    "Pilot": "scalax.plan.pilot:Pilot",
    "PowerLaw": "scalax.laws.power_law:PowerLaw",
    "PowerSum": "scalax.laws.power_law:PowerSum",
    "Prediction": "scalax.predict.answers:Prediction",
    "PublishedLaw": "scalax.predict.published_law:PublishedLaw",
    "RMSNorm": "scalax.models.decoder:RMSNorm",
    "Recipe": "scalax.shapes.base:Recipe",
    "Runs": "scalax.runs.table:Runs",
    "ScalaxError": "scalax.errors:ScalaxError",
    "Settings": "scalax.schema:Settings",
    "SizedFamily": "scalax.models.sized:SizedFamily",
    "Source": "scalax.data.base:Source",
    "Split": "scalax.data.base:Split",
    "Term": "scalax.laws.power_law:Term",
    "TransformerShape": "scalax.shapes.transformer:TransformerShape",
    "TransformerVariant": "scalax.shapes.transformer:TransformerVariant",
    "Trial": "scalax.shapes.base:Trial",
    "Troubles": "scalax.simulate.troubles:Troubles",
    "TwoStep": "scalax.predict.two_step:TwoStep",
    "allocate_with_inference": "scalax.predict.inference:allocate_with_inference",
    "arrays": "scalax.data.arrays:arrays",
    "cache_folder": "scalax.folders:cache_folder",
    "check_plugin": "scalax.conform.check:check_plugin",
    "compare": "scalax.fit.compare:compare",
    "constrain": "scalax.models.compute:constrain",
    "family": "scalax.models.function_family:family",
    "fit": "scalax.fit.estimate:fit",
    "forward_flops": "scalax.shapes.transformer:forward_flops",
    "gain": "scalax.fit.gain:gain",
    "is_held_out": "scalax.data.hold_out:is_held_out",
    "label_sums": "scalax.models.label_sums:label_sums",
    "law": "scalax.laws.formula:law",
    "load_plugin": "scalax.registry:load_file",
    "nearest_shape": "scalax.shapes.nearest:nearest_shape",
    "open_tfds": "scalax.data.tfds:open_builder",
    "parse_settings": "scalax.schema:parse",
    "plan": "scalax.plan.pilot:plan_pilot",
    "published": "scalax.predict.published_law:published_fit",
    "read_fit": "scalax.predict.read_fit:read_fit",
    "read_runs": "scalax.runs.read:read_runs",
    "register": "scalax.registry:register",
    "require_features": "scalax.models.base:require_features",
    "run": "scalax.sweep.run:run_experiment",
    "stacked_layers": "scalax.models.stacked:stacked_layers",
    "summed_cross_entropy": "scalax.models.cross_entropy:summed_cross_entropy",
    "synthetic_runs": "scalax.simulate.sweep:synthetic_table",
    "traced_flops": "scalax.models.traced:traced_flops",
    "train_flops": "scalax.shapes.transformer:train_flops",
    "transformer_counts": "scalax.shapes.transformer:counts",
    "transformer_shape": "scalax.shapes.transformer_search:shape_for",
}

_DEPRECATED = {"transformer_flops": "forward_flops"}
"""Old public names and the names that replace them."""

__version__ = "0.2.0"  # the only place: pyproject.toml reads it
__all__ = [  # written out for type checkers; a test holds it against _PUBLIC
    "Allocation",
    "Attention",
    "Coefficient",
    "Compute",
    "ComputeRule",
    "Counts",
    "DataSpec",
    "Dataset",
    "Example",
    "Exponent",
    "Feature",
    "Fit",
    "FixedShape",
    "FunctionFamily",
    "JobError",
    "Law",
    "Matrix",
    "ModelFamily",
    "OpenDataset",
    "Pilot",
    "PowerLaw",
    "PowerSum",
    "Prediction",
    "PublishedLaw",
    "RMSNorm",
    "Recipe",
    "Runs",
    "ScalaxError",
    "Settings",
    "SizedFamily",
    "Source",
    "Split",
    "Term",
    "TransformerShape",
    "TransformerVariant",
    "Trial",
    "Troubles",
    "TwoStep",
    "__version__",
    "allocate_with_inference",
    "arrays",
    "cache_folder",
    "check_plugin",
    "compare",
    "constrain",
    "family",
    "fit",
    "forward_flops",
    "gain",
    "is_held_out",
    "label_sums",
    "law",
    "load_plugin",
    "nearest_shape",
    "open_tfds",
    "parse_settings",
    "plan",
    "published",
    "read_fit",
    "read_runs",
    "register",
    "require_features",
    "run",
    "stacked_layers",
    "summed_cross_entropy",
    "synthetic_runs",
    "traced_flops",
    "train_flops",
    "transformer_counts",
    "transformer_shape",
]


def __getattr__(name: str) -> Any:
    if new_name := _DEPRECATED.get(name):
        import warnings

        warnings.warn(
            f"sx.{name} is deprecated: use sx.{new_name}", DeprecationWarning, stacklevel=2
        )
        return __getattr__(new_name)
    target = _PUBLIC.get(name)
    if target is None:
        raise AttributeError(f"module 'scalax' has no attribute {name!r}")
    module, _, attribute = target.partition(":")
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


class _Package(types.ModuleType):
    """`scalax.fit` is a package and the public function; the name always gives the function."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _PUBLIC and isinstance(value, types.ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
