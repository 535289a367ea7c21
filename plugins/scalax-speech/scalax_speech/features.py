"""The front end: one second of sound to log-mel features, and the spec of data made of them.

NumPy alone. The datasets compute it, not the model: it has no parameters, so that what it gives is
the same in every epoch and every run of a sweep, and a model's FLOPs are those of its own layers.
It halves a second's size.
"""

from __future__ import annotations

import functools

import numpy as np

import scalax as sx

RATE = 16_000
"""Samples a second."""

WINDOW, HOP, FFT = 400, 160, 512
"""Samples of a window (25 ms), from one to the next (10 ms), and of a transform."""

MELS = 40
"""Filters."""

FRAMES = 1 + (RATE - WINDOW) // HOP
"""Whole windows in a second."""

_LOWEST_HZ, _HIGHEST_HZ = 20.0, RATE / 2
_FLOOR = 1e-6  # power a filter, of samples within -1 to 1: below what 16 bits resolve


def log_mel(samples: np.ndarray) -> np.ndarray:
    """Log-mel features of a second of sound, level and contrast of each second taken out.

    Power of the transform of each Hann window, summed by the filters, the logarithm of that; then
    less its mean and divided by its standard deviation, so that gain hardly matters.

    Args:
        samples: int16, or float within -1 to 1, at 16 kHz; cut, or filled with zeros, to a second.

    Returns:
        float32 [frames, mels]; zero throughout for silence.

    Example:
        >>> log_mel(np.zeros(8_000, np.int16)).shape
        (98, 40)
    """
    if samples.dtype == np.int16:
        samples = samples / np.float32(2**15)
    sound = np.zeros(RATE, np.float32)
    sound[: len(samples)] = samples[:RATE]
    # No product of BLAS, whose threads wait for each other while a training step has the cores.
    found = np.log(np.einsum("fb,mb->fm", power(sound), mel_filters()) + _FLOOR)
    found -= found.mean()
    spread = found.std()
    return (found / spread if spread > 1e-3 else found).astype(np.float32)


def power(sound: np.ndarray) -> np.ndarray:
    """Squared magnitude of the transform of each whole window, [frames, FFT / 2 + 1]."""
    windows = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP]
    found = np.fft.rfft(windows * _hann(), FFT)
    return np.square(found.real) + np.square(found.imag)


@functools.cache
def mel_filters() -> np.ndarray:
    """Triangles, linear in mel, from centre to centre of a filter's neighbours: [mels, bins].

    Centres stand evenly between 20 Hz and 8 kHz on the mel scale of HTK, 1127 ln(1 + f / 700)
    (Young et al., The HTK Book, section 5.4). Between the first and the last centre the
    filters of any frequency add up to 1.
    """
    edges = np.linspace(mel(_LOWEST_HZ), mel(_HIGHEST_HZ), MELS + 2)
    bins = mel(np.arange(FFT // 2 + 1) * RATE / FFT)
    apart = edges[1] - edges[0]
    filters = np.maximum(0, 1 - np.abs(bins - edges[1:-1, None]) / apart)
    return filters.astype(np.float32)


def mel(hertz: float | np.ndarray) -> np.ndarray:
    """Frequency on HTK's mel scale.

    Example:
        >>> round(float(mel(1000.0)))
        1000
    """
    return 1127 * np.log1p(np.asarray(hertz) / 700)


@functools.cache
def _hann() -> np.ndarray:
    """The periodic Hann window."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)).astype(np.float32)


def keyword_spec(
    name: str, *, classes: int, train_examples: int, eval_examples: int, fingerprint: str
) -> sx.DataSpec:
    """Seconds of sound with a keyword each, counted in examples.

    Args:
        name: What the user wrote.
        classes: Keywords.
        train_examples: Seconds to train on.
        eval_examples: Held-out seconds.
        fingerprint: Hash of the content.
    """
    return sx.DataSpec(
        name=name,
        unit="examples",
        units_per_example=1,
        features={
            "features": sx.Feature((FRAMES, MELS), "float32"),
            "label": sx.Feature((), "int32"),
        },
        classes=classes,
        train_examples=train_examples,
        eval_examples=eval_examples,
        fingerprint=fingerprint,
    )
