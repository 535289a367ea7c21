"""What the terminal and the page say alike: an allocation in lines, an ensemble by its forms."""

from __future__ import annotations

from collections.abc import Iterable

from scalax.predict.answers import Allocation
from scalax.predict.ensemble_law import EnsembleMember


def allocation_lines(answer: Allocation, unit: str = "tokens") -> list[str]:
    """An allocation, a line a quantity."""

    def line(label: str, value: float | None, what: str, name: str = "") -> str:
        if value is None:
            return f"{label:<18}unknown"
        span = answer.intervals.get(name)
        text = f"{label:<18}{value:.4g} {what}".rstrip()
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
        line("training data D*", answer.tokens, unit, "tokens"),
        line(f"{unit} per param", answer.tokens_per_param, ""),
        line("loss", answer.loss, "", "loss"),
        line("batch size", answer.batch_tokens, unit),
        line("learning rate", answer.learning_rate, ""),
    ]


def members_by_form(members: Iterable[EnsembleMember]) -> list[tuple[str, str, float, int]]:
    """The members of an ensemble by law and weights: their share of it, and how many they are."""
    found: dict[tuple[str, str], list[float]] = {}
    for member in members:
        found.setdefault((member.law, member.weights), []).append(member.share)
    return [(law, weights, sum(some), len(some)) for (law, weights), some in found.items()]
