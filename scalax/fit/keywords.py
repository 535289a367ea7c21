"""Shows the fields of a settings class as keywords of functions, so that they are declared once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from pydantic import BaseModel

F = TypeVar("F", bound=Callable[..., Any])


def takes_settings(
    settings: type[BaseModel], names: Iterable[str] | None = None
) -> Callable[[F], F]:
    """Replaces ``**settings`` in a function's signature by the fields of a settings class.

    Only the signature that ``help()`` and editors show changes, not the function.

    Args:
        settings: The class that declares names, types and defaults.
        names: The fields to show; all of them by default.
    """
    shown = list(settings.model_fields if names is None else names)

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        fields = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=settings.model_fields[name].get_default(call_default_factory=True),
                annotation=settings.model_fields[name].annotation,
            )
            for name in shown
        ]
        vars(function)["__signature__"] = signature.replace(parameters=[*own, *fields])
        return function

    return decorate
