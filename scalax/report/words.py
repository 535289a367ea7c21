"""Results as lines of text for a terminal."""

from __future__ import annotations

from scalax.predict.answers import Allocation


def allocation_lines(answer: Allocation) -> list[str]:
    """An allocation, a line a quantity."""

    def line(label: str, value: float | None, unit: str, name: str = "") -> str:
        if value is None:
            return f"{label:<18}unknown"
        span = answer.intervals.get(name)
        text = f"{label:<18}{value:.4g} {unit}".rstrip()
        return f"{text}  ({span[0]:.4g} to {span[1]:.4g})" if span else text

    served = []
    if answer.training_flops is not None:
        served = [
            line("  for training", answer.training_flops, "FLOPs"),
            line("  for inference", answer.inference_flops, "FLOPs"),
        ]
    return [
        line("compute budget", answer.flops, f"FLOPs ({answer.compute})"),
        *served,
        line("parameters N*", answer.params, "", "params"),
        line("training data D*", answer.tokens, "tokens", "tokens"),
        line("tokens per param", answer.tokens_per_param, ""),
        line("loss", answer.loss, "", "loss"),
        line("batch size", answer.batch_tokens, "tokens"),
        line("learning rate", answer.learning_rate, ""),
    ]
