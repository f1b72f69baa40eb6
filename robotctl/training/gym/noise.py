"""Coloured noise: Gaussian with a power spectrum of 1 / f^colour, so that actions sweep instead of jitter."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


@lru_cache
def basis(length: int, colour: float) -> np.ndarray:
    """Matrix (k, length) that turns k independent standard normal numbers into noise of unit variance.

    Timmer & Koenig 1995, section 4: the Fourier coefficients are Gaussian with standard deviation f^(-colour / 2);
    frequencies below that of the whole length are cut off at it. Rows are the inverse transforms of one coefficient.
    """
    frequency = np.maximum(np.fft.rfftfreq(length), 1.0 / length)
    size = frequency ** (-colour / 2.0)
    real = np.fft.irfft(np.diag(size).astype(complex), length)
    imaginary = np.fft.irfft(1j * np.diag(size), length)
    # A coefficient that stands for itself alone (the mean, and the highest of an even length) has no imaginary part.
    alone = np.abs(imaginary).max(axis=1) < 1e-12
    real[alone] *= np.sqrt(2.0)
    rows = np.concatenate([real, imaginary[~alone]])
    return (rows / np.sqrt((rows**2).sum(axis=0).mean())).astype(np.float32)


def coloured(generator: np.random.Generator, length: int, width: int, colour: float) -> np.ndarray:
    """Noise (length, width)."""
    rows = basis(length, colour)
    return (generator.standard_normal((width, len(rows))).astype(np.float32) @ rows).T
