"""What `scalax simulate step` answers: a model as described, simulated or compiled."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from scalax import registry
from scalax.errors import ScalaxError
from scalax.hardware.request import VOCAB, Model, of_size, tokens_of
from scalax.hardware.step import MARGIN, Step
from scalax.shapes.presets import preset, read_shape
from scalax.shapes.transformer import counts

if TYPE_CHECKING:
    from scalax.simulate.compile_step import Compiled

_SEQ_LEN = 2048


def describe(
    *,
    family: str = "transformer",
    params: float | None = None,
    config: str | None = None,
    preset_name: str | None = None,
    seq_len: int | None = None,
    vocab: int | None = None,
) -> Model:
    """The model that a user described, in one of three ways.

    Args:
        family: Which family gives the shape of a size; presets and files are transformers.
        params: A size, for the family's own shape of it.
        config: A TOML file of a shape, as `scalax.shapes.presets.read_shape` takes it.
        preset_name: An open model.
        seq_len: Tokens in a sequence; by default the model's own, or 2048.
        vocab: Size of the vocabulary; by default the model's own, or 32000.

    Raises:
        ScalaxError: None or several were given, or the description is wrong.
    """
    given = [name for name, value in _ways(params, config, preset_name) if value is not None]
    if len(given) != 1:
        raise ScalaxError(
            f"expected one of --params, --config and --preset, got {' and '.join(given) or 'none'}",
            where="simulate step",
            fix="write --params 1.3e9, --preset llama-3.1-8b or --config shape.toml",
        )
    if params is None and family != "transformer":
        raise ScalaxError(
            f"{given[0]} describes a transformer, not a model of {family!r}",
            where="--family",
            fix="write --params, or leave out --family",
        )
    if preset_name is not None:
        found = preset(preset_name, seq_len)
    elif config is not None:
        found = read_shape(config, seq_len)
    else:
        assert params is not None
        return of_size(family, params, seq_len or _SEQ_LEN, vocab or VOCAB)
    found = found if vocab is None else replace(found, vocab=vocab)
    shape = found if found.variant is None else None
    return Model(found, registry.get("model", "transformer") if shape else None, shape)


def compile_it(model: Model, step: Step) -> Compiled:
    """The real train step of scalax through the TPU's own compiler.

    Args:
        model: What is trained.
        step: How, as it was simulated.

    Raises:
        ScalaxError: The compiler is not there, or scalax cannot train this on those chips.
    """
    if model.family is None:
        raise ScalaxError(
            "this architecture is simulated only; scalax trains decoders with rotary positions, "
            "two norms a block, no biases and no experts",
            where="--compile",
            fix="leave out --compile, or describe the model with --params or --config",
        )
    if step.slice.chip.compile_name is None:
        raise ScalaxError(
            f"only the TPU's compiler works without the device, not that of {step.slice.kind}",
            where="--compile",
            fix="leave out --compile, or name a TPU",
        )
    if step.precision not in ("bf16", "f32"):
        raise ScalaxError(
            f"scalax trains in bf16 and f32, not in {step.precision}",
            where="--compile",
            fix="leave out --compile, or write --precision bf16",
        )
    from scalax.devices import prepare

    prepare()
    from scalax.simulate.compile_step import compile_step, tpu_devices

    return compile_step(
        model.family,
        model.shape,
        tokens_of(model.architecture.vocab, model.architecture.seq_len),
        devices=tpu_devices(step.slice.topology, step.slice.slices),
        mesh=step.layout.to_json(),
        batch=step.batch,
        precision=step.precision,
        recompute=step.recompute,
    )


def answer(step: Step, compiled: Compiled | None) -> dict[str, Any]:
    """The JSON of an answer; where the compiler was asked, ``fits`` is what it says."""
    found = step.to_json()
    if compiled is None:
        return found
    return {
        **found,
        "fits": compiled.fits,
        "compiled_bytes_per_device": compiled.bytes_per_device,
        "compiled_over_by": compiled.over,
    }


def lines(step: Step, compiled: Compiled | None) -> list[str]:
    """An answer for a person to read."""
    size, total = step.bytes, step.seconds
    limit = step.slice.memory_limit
    price = step.usd_per_billion_tokens
    unit = "device" if step.slice.chip.cores == 2 else "chip"
    told = [
        f"model         {counts(step.architecture).params:.4g} parameters, "
        f"sequences of {step.architecture.seq_len}",
        f"chips         {step.slice.name}: {step.slice.chips} x {step.slice.chip.title}",
        f"mesh          {step.layout}, {step.batch} sequences = {step.tokens:,} tokens a step, "
        f"{step.precision}, recompute {step.recompute}",
        f"step          {total:.4g} s: compute {step.compute / total:.0%}, memory "
        f"{step.memory / total:.0%}, network {step.network / total:.0%} "
        f"({step.hidden:.3g} s more are hidden); bound by {step.bound}",
        f"speed         {step.tokens_per_second_per_chip:,.0f} tokens/s/chip, "
        f"utilisation {step.utilisation:.1%}",
        f"memory        {_gib(size.total)} of {_gib(limit)} GiB a {unit}: parameters "
        f"{_gib(size.parameters)}, optimizer {_gib(size.optimizer)}, gradients "
        f"{_gib(size.gradients)}, activations {_gib(size.activations)}",
    ]
    if compiled is not None:
        told.append(f"compiled      {_gib(compiled.bytes_per_device)} GiB, says the TPU's compiler")
    fits = step.fits if compiled is None else compiled.fits
    over = size.total - limit if compiled is None else compiled.over
    close = f"no, or barely: counts are good to {MARGIN - 1:.0%}"
    told.append(
        f"fits          {'yes' if fits else f'no, by {_gib(over)} GiB' if over > 0 else close}"
    )
    if price is not None:
        told.append(f"price         ${price:,.2f} a billion tokens at list price")
    return told


def _ways(*given: Any) -> list[tuple[str, Any]]:
    return list(zip(("--params", "--config", "--preset"), given, strict=True))


def _gib(size: float) -> str:
    return f"{size / 2**30:.2f}"
