"""Tests the log-mel features against scipy's transform and the definition of the mel scale."""

from __future__ import annotations

import numpy as np
import pytest
from scalax_speech import features
from scipy import signal


def tone(hertz: float, seconds: float = 1.0) -> np.ndarray:
    at = np.arange(int(features.RATE * seconds)) / features.RATE
    return (0.5 * np.sin(2 * np.pi * hertz * at)).astype(np.float32)


def test_power_agrees_with_scipy() -> None:
    sound = np.random.default_rng(0).standard_normal(features.RATE).astype(np.float32)
    window = signal.get_window("hann", features.WINDOW)  # the periodic one
    _, _, spectrum = signal.stft(
        sound,
        window=window,
        nperseg=features.WINDOW,
        noverlap=features.WINDOW - features.HOP,
        nfft=features.FFT,
        boundary=None,
        padded=False,
    )
    want = np.abs(spectrum.T * window.sum()) ** 2
    power = features.power(sound)
    assert power.shape == want.shape == (features.FRAMES, features.FFT // 2 + 1)
    np.testing.assert_allclose(power, want, rtol=1e-3, atol=1e-2)


def test_mels_agree_with_the_htk_book() -> None:
    # Equation 5.13: 2595 log10(1 + f / 700); 2595 / ln 10 = 1126.99, which rounds to 1127.
    for hertz in (20, 300, 1000, 4000, 8000):
        assert features.mel(hertz) == pytest.approx(2595 * np.log10(1 + hertz / 700), rel=2e-5)


def test_filters_add_up_to_one_at_each_frequency() -> None:
    filters = features.mel_filters()
    edges = np.linspace(features.mel(20), features.mel(8000), features.MELS + 2)
    bins = features.mel(np.arange(features.FFT // 2 + 1) * features.RATE / features.FFT)
    between = (bins >= edges[1]) & (bins <= edges[-2])
    np.testing.assert_allclose(filters.sum(axis=0)[between], 1, atol=1e-5)
    assert filters.min() == 0
    assert (np.count_nonzero(filters, axis=0) <= 2).all()
    assert (filters.sum(axis=1) > 0.5).all()  # every filter covers a bin
    centres = (filters @ bins) / filters.sum(axis=1)
    np.testing.assert_allclose(centres, edges[1:-1], atol=edges[1] - edges[0])


@pytest.mark.parametrize("number", [3, 17, 35])
def test_a_tone_is_largest_in_the_filter_at_its_frequency(number: int) -> None:
    edges = np.linspace(features.mel(20), features.mel(8000), features.MELS + 2)
    hertz = 700 * np.expm1(edges[number + 1] / 1127)
    mels = features.log_mel(tone(hertz))
    assert (mels.argmax(axis=1) == number).all()


def test_features_do_not_depend_on_gain_or_dtype() -> None:
    noise = 0.05 * np.random.default_rng(0).standard_normal(features.RATE).astype(np.float32)
    sound = (tone(440) + tone(1900) + noise) / 2
    loud = features.log_mel(sound)
    np.testing.assert_allclose(features.log_mel(sound / 4), loud, atol=0.02)
    sixteen_bits = (sound * 2**15).astype(np.int16)
    np.testing.assert_allclose(features.log_mel(sixteen_bits), loud, atol=0.02)
    assert loud.dtype == np.float32
    assert (float(loud.mean()), float(loud.std())) == pytest.approx((0, 1), abs=1e-4)


def test_sound_is_cut_or_padded_to_a_second() -> None:
    second = tone(440)
    longer = np.concatenate([second, tone(1000)])
    np.testing.assert_array_equal(features.log_mel(longer), features.log_mel(second))
    half = np.concatenate([second[:8000], np.zeros(8000, np.float32)])
    np.testing.assert_array_equal(features.log_mel(second[:8000]), features.log_mel(half))
    silent = features.log_mel(np.zeros(3, np.int16))
    np.testing.assert_allclose(silent, np.zeros((features.FRAMES, features.MELS)), atol=1e-5)
