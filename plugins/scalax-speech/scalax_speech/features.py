"""Computes log-mel features of one second of sound, and the spec of datasets that have them.

It uses NumPy only. The datasets compute the features, not the model: they have no parameters and
are the same in every epoch and run, and a model's FLOPs are then those of its own layers. Features
take half the space of the sound.
"""

from __future__ import annotations

import functools

import numpy as np

import scalax as sx

RATE = 16_000
"""Samples per second."""

WINDOW, HOP, FFT = 400, 160, 512
"""Samples of a window (25 ms), of the step to the next (10 ms), and of the Fourier transform."""

MELS = 40
"""Number of mel filters."""

FRAMES = 1 + (RATE - WINDOW) // HOP
"""Number of whole windows in a second."""

_LOWEST_HZ, _HIGHEST_HZ = 20.0, RATE / 2
_FLOOR = 1e-6  # power of a filter for samples in [-1, 1]; below the resolution of 16 bits


def log_mel(samples: np.ndarray) -> np.ndarray:
    """Returns log-mel features of a second of sound, with mean 0 and standard deviation 1.

    It takes the power spectrum of each Hann window, sums it by mel filter and takes the logarithm.
    It then normalises the second, so that the recording level hardly matters.

    Args:
        samples: int16, or float in [-1, 1], at 16 kHz; cut or padded with zeros to one second.

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
    # einsum does not use BLAS, whose threads compete with a training step for the cores.
    logs = np.log(np.einsum("fb,mb->fm", power(sound), mel_filters()) + _FLOOR)
    logs -= logs.mean()
    deviation = logs.std()
    return (logs / deviation if deviation > 1e-3 else logs).astype(np.float32)


def power(sound: np.ndarray) -> np.ndarray:
    """Returns the power spectrum of each whole window, [frames, FFT / 2 + 1]."""
    windows = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP]
    spectrum = np.fft.rfft(windows * _hann(), FFT)
    return np.square(spectrum.real) + np.square(spectrum.imag)


@functools.cache
def mel_filters() -> np.ndarray:
    """Returns triangular filters that are linear in mel, [mels, bins].

    Each filter reaches from the centre of the filter below to the centre of the filter above.
    Centres are evenly spaced between 20 Hz and 8 kHz on HTK's mel scale, 1127 ln(1 + f / 700)
    (Young et al., The HTK Book, section 5.4). Between the first and the last centre the filters add
    up to 1 at every frequency.
    """
    edges = np.linspace(mel(_LOWEST_HZ), mel(_HIGHEST_HZ), MELS + 2)
    bins = mel(np.arange(FFT // 2 + 1) * RATE / FFT)
    spacing = edges[1] - edges[0]
    filters = np.maximum(0, 1 - np.abs(bins - edges[1:-1, None]) / spacing)
    return filters.astype(np.float32)


def mel(hertz: float | np.ndarray) -> np.ndarray:
    """Converts frequencies to HTK's mel scale.

    Example:
        >>> round(float(mel(1000.0)))
        1000
    """
    return 1127 * np.log1p(np.asarray(hertz) / 700)


@functools.cache
def _hann() -> np.ndarray:
    """Returns the periodic Hann window."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)).astype(np.float32)


def keyword_spec(
    name: str, *, classes: int, train_examples: int, eval_examples: int, fingerprint: str
) -> sx.DataSpec:
    """Returns the spec of one-second examples with a keyword each.

    Args:
        name: The dataset's name, as the user wrote it.
        classes: Number of keywords.
        train_examples: Number of training examples.
        eval_examples: Number of held-out examples.
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
