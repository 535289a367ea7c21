"""Answers `scalax simulate step`: describes a model, compiles its step and formats the result."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from scalax import registry
from scalax.errors import ScalaxError
from scalax.hardware.request import VOCAB, SimulatedModel, model_of_size, token_data
from scalax.hardware.step import MARGIN, Step
from scalax.shapes.presets import preset, read_shape
from scalax.shapes.transformer import counts

if TYPE_CHECKING:
    from scalax.simulate.compile_step import CompiledStep

_SEQ_LEN = 2048


def describe_model(
    *,
    family: str = "transformer",
    params: float | None = None,
    config: str | None = None,
    preset_name: str | None = None,
    seq_len: int | None = None,
    vocab: int | None = None,
) -> SimulatedModel:
    """Returns the model that a user described by its size, a file or the name of an open model.

    Args:
        family: Family that gives the shape of a size; presets and files are transformers.
        params: Number of parameters.
        config: A TOML file with a shape; see `scalax.shapes.presets.read_shape`.
        preset_name: Name of an open model.
        seq_len: Tokens in a sequence; by default the model's own, or 2048.
        vocab: Size of the vocabulary; by default the model's own, or 32000.

    Raises:
        ScalaxError: None or several of the three are given, or the description is invalid.
    """
    options = {"--params": params, "--config": config, "--preset": preset_name}
    given = [name for name, value in options.items() if value is not None]
    if len(given) != 1:
        raise ScalaxError(
            f"expected one of --params, --config and --preset, got {' and '.join(given) or 'none'}",
            where="simulate step",
            fix="write --params 1.3e9, --preset llama-3.1-8b or --config shape.toml",
        )
    if params is None and family != "transformer":
        raise ScalaxError(
            f"{given[0]} describes a transformer, not a model of the family {family!r}",
            where="--family",
            fix="use --params, or leave out --family",
        )
    if preset_name is not None:
        arch = preset(preset_name, seq_len)
    elif config is not None:
        arch = read_shape(config, seq_len)
    else:
        assert params is not None
        return model_of_size(family, params, seq_len or _SEQ_LEN, vocab or VOCAB)
    arch = arch if vocab is None else replace(arch, vocab=vocab)
    shape = arch if arch.variant is None else None
    return SimulatedModel(arch, registry.get("model", "transformer") if shape else None, shape)


def compile_simulated(model: SimulatedModel, step: Step) -> CompiledStep:
    """Compiles scalax's own train step with the TPU's compiler.

    Args:
        model: The model.
        step: The simulated step: its slice, mesh, batch and precision.

    Raises:
        ScalaxError: The compiler is not installed, or scalax cannot train this model there.
    """
    if model.family is None:
        raise ScalaxError(
            "this architecture is simulated only: scalax trains decoders with rotary positions, "
            "two norms per block, no biases and no experts",
            where="--compile",
            fix="leave out --compile, or describe the model with --params or --config",
        )
    if step.slice.chip.compile_name is None:
        raise ScalaxError(
            f"only the TPU's compiler works without the device; {step.slice.kind} is not a TPU",
            where="--compile",
            fix="leave out --compile, or choose a TPU",
        )
    if step.precision not in ("bf16", "f32"):
        raise ScalaxError(
            f"expected bf16 or f32 (the precisions scalax trains in), got {step.precision}",
            where="--compile",
            fix="leave out --compile, or write --precision bf16",
        )
    from scalax.devices import prepare

    prepare()
    from scalax.simulate.compile_step import compile_step, tpu_devices

    return compile_step(
        model.family,
        model.shape,
        token_data(model.architecture.vocab, model.architecture.seq_len),
        devices=tpu_devices(step.slice.topology, step.slice.slices),
        mesh=step.layout.to_json(),
        batch=step.batch,
        precision=step.precision,
        recompute=step.recompute,
    )


def step_json(step: Step, compiled: CompiledStep | None) -> dict[str, Any]:
    """Returns the JSON of a step. ``fits`` is the compiler's result if ``compiled`` is given."""
    if compiled is None:
        return step.to_json()
    return {
        **step.to_json(),
        "fits": compiled.fits,
        "compiled_bytes_per_device": compiled.bytes_per_device,
        "compiled_over_by": compiled.over,
    }


def format_step(step: Step, compiled: CompiledStep | None) -> list[str]:
    """Returns the lines that describe a step to a reader."""
    size, total = step.bytes, step.seconds
    limit = step.slice.memory_limit
    price = step.usd_per_billion_tokens
    unit = "device" if step.slice.chip.cores == 2 else "chip"
    lines = [
        f"model         {counts(step.architecture).params:.4g} parameters, "
        f"sequences of {step.architecture.seq_len}",
        f"chips         {step.slice.name}: {step.slice.chips} x {step.slice.chip.title}",
        f"mesh          {step.layout}, {step.batch} sequences = {step.tokens:,} tokens per step, "
        f"{step.precision}, recompute {step.recompute}",
        f"step          {total:.4g} s: compute {step.compute / total:.0%}, memory "
        f"{step.memory / total:.0%}, network {step.network / total:.0%} "
        f"({step.hidden:.3g} s more hidden); bound by {step.bound}",
        f"speed         {step.tokens_per_second_per_chip:,.0f} tokens/s/chip, "
        f"utilisation {step.utilisation:.1%}",
        f"memory        {_gib(size.total)} of {_gib(limit)} GiB per {unit}: parameters "
        f"{_gib(size.parameters)}, optimizer {_gib(size.optimizer)}, gradients "
        f"{_gib(size.gradients)}, activations {_gib(size.activations)}",
    ]
    if compiled is not None:
        lines.append(f"compiled      {_gib(compiled.bytes_per_device)} GiB by the TPU's compiler")
    fits = step.fits if compiled is None else compiled.fits
    over = size.total - limit if compiled is None else compiled.over
    close = f"uncertain: within the error of the count, {MARGIN - 1:.0%}"
    lines.append(
        f"fits          {'yes' if fits else f'no, by {_gib(over)} GiB' if over > 0 else close}"
    )
    if price is not None:
        lines.append(f"price         ${price:,.2f} per billion tokens at list price")
    return lines


def _gib(size: float) -> str:
    return f"{size / 2**30:.2f}"
