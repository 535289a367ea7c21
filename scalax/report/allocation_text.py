"""Text of allocations and ensembles, shared by the terminal and the report."""

from __future__ import annotations

from collections.abc import Iterable

from scalax.predict.answers import Allocation
from scalax.predict.ensemble_law import EnsembleMember


def allocation_lines(answer: Allocation, unit: str = "tokens") -> list[str]:
    """Returns an allocation as text, one line for each quantity."""

    def line(label: str, value: float | None, unit: str, name: str = "") -> str:
        if value is None:
            return f"{label:<18}unknown"
        interval = answer.intervals.get(name)
        text = f"{label:<18}{value:.4g} {unit}".rstrip()
        return f"{text}  ({interval[0]:.4g} to {interval[1]:.4g})" if interval else text

    parts = []
    if answer.training_flops is not None:
        parts = [
            line("  for training", answer.training_flops, "FLOPs"),
            line("  for inference", answer.inference_flops, "FLOPs"),
        ]
    return [
        line("compute budget", answer.flops, f"FLOPs ({answer.compute})"),
        *parts,
        line("parameters N*", answer.params, "", "params"),
        line("training data D*", answer.tokens, unit, "tokens"),
        line(f"{unit} per param", answer.tokens_per_param, ""),
        line("loss", answer.loss, "", "loss"),
        line("batch size", answer.batch_tokens, unit),
        line("learning rate", answer.learning_rate, ""),
    ]


def members_by_form(members: Iterable[EnsembleMember]) -> list[tuple[str, str, float, int]]:
    """Groups the members of an ensemble by law and weights.

    Args:
        members: The members of the ensemble.

    Returns:
        For each pair of law and weights: the two names, the total share and the member count.
    """
    shares: dict[tuple[str, str], list[float]] = {}
    for member in members:
        shares.setdefault((member.law, member.weights), []).append(member.share)
    return [(law, weights, sum(part), len(part)) for (law, weights), part in shares.items()]
