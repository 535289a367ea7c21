"""Coordinate check: how the change of activations early in training depends on width.

In the maximal-update parametrisation each layer's activations change equally at every width. In the
standard parametrisation, at one learning rate, wider models change more (Yang et al. 2022,
arXiv:2203.03466). Prints the mean absolute change of a coordinate since the start, and its slope:
the exponent of width. With --figure it also draws them.

    python tools/coordinate_check.py --widths 64,128,256,512 --steps 8 --figure coordinates.png
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scalax.devices import prepare

PARAMETRISATIONS = ("standard", "mup")
BATCH = 8


def changes(
    parametrisation: str,
    widths: Sequence[int],
    steps: int,
    *,
    data: Any,
    learning_rate: float = 0.01,
    layers: int = 2,
    seeds: int = 2,
) -> dict[str, list[float]]:
    """Returns the mean absolute change of activations at each width, by layer.

    Args:
        parametrisation: ``standard`` or ``mup``; the first width is the base of ``mup``.
        widths: Widths of the model, ascending.
        steps: Steps of Adam at a constant learning rate.
        data: An open dataset of tokens.
        learning_rate: Learning rate of the base.
        layers: Number of blocks.
        seeds: Number of seeds to average over.

    Returns:
        A list over widths for ``embedding``, each ``attention.k`` and ``mlp.k`` (the update of the
        residual stream), and ``logits``.
    """
    from scalax.models.transformer import Transformer
    from scalax.shapes.base import Recipe
    from scalax.train.mesh import make_mesh
    from scalax.train.program import Program

    family = Transformer()
    recipe = Recipe(batch=BATCH, learning_rate=learning_rate, weight_decay=0.0, clip=None)
    changes_by_layer: dict[str, list[float]] = {}
    for width in widths:
        options = {"width": width, "layers": layers, "head_dim": 16}
        if parametrisation == "mup":
            options |= {"parametrisation": "mup", "base_width": widths[0]}
        shape = family.shape(family.size(options, data.spec), options, data.spec)
        program = Program(family, shape, recipe, "f32", make_mesh({"data": 1}, BATCH))
        look = activations(family, shape)
        sizes = [_changes(program, look, steps, data, seed) for seed in range(seeds)]
        for name in sizes[0]:
            changes_by_layer.setdefault(name, []).append(
                float(np.mean([each[name] for each in sizes]))
            )
    return changes_by_layer


def slope(widths: Sequence[int], sizes: Sequence[float]) -> float:
    """Returns the exponent of width, by least squares of logarithms.

    Example:
        >>> round(slope([64, 128, 256], [2.0, 4.0, 8.0]), 6)
        1.0
    """
    return float(np.polyfit(np.log(widths), np.log(sizes), 1)[0])


def _changes(
    program: Any, look: Callable[..., Any], steps: int, data: Any, seed: int
) -> dict[str, float]:
    """Returns the mean absolute change of each layer's activations on held-out data."""
    from scalax.data.pipeline import train_batches

    peak = program.recipe.learning_rate
    constant = {"peak": peak, "warmup": 0.0, "decay_start": 1e9, "steps": 1e9, "cosine": 0.0}
    schedule = {name: np.float32(value) for name, value in constant.items()}
    batches = train_batches(data.source("train"), batch=BATCH, seed=seed, start=0)
    probe = next(train_batches(data.source("eval"), batch=BATCH, seed=0, start=0))["tokens"]
    state = program.init(seed)
    before = look(state.params, probe)
    for batch in itertools.islice(batches, steps):
        state, _ = program.step(state, program.place(batch), schedule)
    after = look(state.params, probe)
    moved = {name: np.asarray(after[name]) - np.asarray(before[name]) for name in before}
    return {name: float(np.mean(np.abs(change))) for name, change in moved.items()}


def activations(family: Any, shape: Any) -> Callable[..., dict[str, Any]]:
    """Returns a function of parameters and tokens that returns each layer's activations."""
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from scalax.models.compute import Compute

    compute = Compute(jnp.float32)
    graph, _ = nnx.split(
        nnx.eval_shape(lambda: family.build(shape, rngs=nnx.Rngs(0), compute=compute))
    )

    @jax.jit
    def forward(params: Any, tokens: Any) -> dict[str, Any]:
        module = nnx.merge(graph, params)
        one, stacked = nnx.split(module.blocks)
        x = module.embedding[...][tokens[:, :-1]]
        outputs = {"embedding": x}
        for layer in range(shape.layers):
            block = nnx.merge(one, jax.tree.map(lambda leaf, k=layer: leaf[k], stacked))
            outputs[f"attention.{layer}"] = block.attention(block.attention_norm(x))
            x = x + outputs[f"attention.{layer}"]
            outputs[f"mlp.{layer}"] = block.mlp(block.mlp_norm(x))
            x = x + outputs[f"mlp.{layer}"]
        outputs["logits"] = module.logits(module.norm(x))
        return outputs

    return forward


def _draw(file: Path, widths: Sequence[int], results: dict[str, dict[str, list[float]]]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), dpi=150, layout="constrained")
    for axes, (name, layers) in zip(
        figure.subplots(1, len(results), sharey=True), results.items(), strict=True
    ):
        for layer, sizes in layers.items():
            axes.loglog(widths, sizes, "o-", markersize=4, linewidth=1, label=layer)
        axes.set_title(name, loc="left", fontsize=11)
        axes.set_xlabel("width")
        axes.set_xticks(widths, [str(width) for width in widths])
        axes.minorticks_off()
        axes.grid(True, color="#e6e6e6", linewidth=0.7)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("mean change of a coordinate")
    figure.axes[-1].legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(file)


def main() -> None:
    parser = argparse.ArgumentParser(description="Coordinate check of the transformer family.")
    parser.add_argument(
        "--widths", default="64,128,256,512", help="ascending; the first is the base width"
    )
    parser.add_argument("--steps", type=int, default=8, help="training steps")
    parser.add_argument("--learning-rate", type=float, default=0.01, help="peak rate")
    parser.add_argument("--layers", type=int, default=2, help="blocks of the model")
    parser.add_argument("--seeds", type=int, default=2, help="seeds to average over")
    parser.add_argument("--figure", type=Path, help="write a PNG figure to this file")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    widths = [int(width) for width in args.widths.split(",")]
    prepare()
    from scalax.data.stdlib import Stdlib

    data = Stdlib().open("stdlib", {"seq_len": 64})
    results = {
        name: changes(
            name,
            widths,
            args.steps,
            data=data,
            learning_rate=args.learning_rate,
            layers=args.layers,
            seeds=args.seeds,
        )
        for name in PARAMETRISATIONS
    }
    if args.figure:
        _draw(args.figure, widths, results)
    if args.json:
        print(json.dumps({"widths": widths, "steps": args.steps, "changes": results}, indent=1))
        return
    print(f"mean change of a coordinate after {args.steps} steps")
    print(f"{'':24}" + "".join(f"{width:>10}" for width in widths) + f"{'slope':>10}")
    for name, layers in results.items():
        for layer, sizes in layers.items():
            cells = "".join(f"{size:10.4f}" for size in sizes)
            print(f"{name:10}{layer:14}{cells}{slope(widths, sizes):10.2f}")


if __name__ == "__main__":
    main()
