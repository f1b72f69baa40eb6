"""Seamless textures: wood, planks and tiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 256  # pixels on a side
LEVELS = 48  # shades that a texture keeps: enough for the eye, and small files


def noise(generator: np.random.Generator, across: float, along: float) -> np.ndarray:
    """Periodic noise (SIZE, SIZE) of unit variance, smooth over `across` rows and `along` columns of pixels."""
    frequency = np.fft.fftfreq(SIZE)
    low_pass = np.exp(-0.5 * ((4 * across * frequency[:, None]) ** 2 + (4 * along * frequency[None, :]) ** 2))
    out = np.fft.ifft2(np.fft.fft2(generator.normal(size=(SIZE, SIZE))) * low_pass).real
    return (out - out.mean()) / out.std()


def shaded(color: tuple[float, float, float], brightness: np.ndarray) -> np.ndarray:
    """The colour times a brightness for each pixel, as an image."""
    image = np.clip(np.array(color) * brightness[:, :, None], 0.0, 1.0)
    return np.round(np.round(image * LEVELS) / LEVELS * 255).astype(np.uint8)


def wood(generator: np.random.Generator, color: tuple[float, float, float]) -> np.ndarray:
    """Grain along u."""
    grain = noise(generator, 0.8, 30.0) + 0.6 * noise(generator, 2.5, 60.0) + 0.5 * noise(generator, 12.0, 50.0)
    return shaded(color, 1.0 + 0.045 * grain)


def planks(generator: np.random.Generator, color: tuple[float, float, float]) -> np.ndarray:
    """Eight rows of floor boards along u, each with a joint, a shade and a grain of its own."""
    brightness = 1.0 + 0.03 * noise(generator, 0.8, 30.0) + 0.015 * noise(generator, 3.0, 40.0)
    rows = 8
    height = SIZE // rows
    for row in range(rows):
        board = slice(row * height, (row + 1) * height)
        joint = int((row * 0.382) % 1.0 * SIZE)
        shift = np.roll(np.arange(SIZE) < SIZE // 2, joint)
        brightness[board] *= np.where(shift, *(1.0 + 0.05 * generator.uniform(-1, 1, 2)))
        brightness[row * height] *= 0.82
        for end in (joint, (joint + SIZE // 2) % SIZE):
            brightness[board, end] *= 0.82
    return shaded(color, brightness)


def tiles(generator: np.random.Generator, color: tuple[float, float, float]) -> np.ndarray:
    """Four rows of tiles laid in bond, twice as long as high."""
    rows, height, width = 4, SIZE // 4, SIZE // 2
    brightness = np.ones((SIZE, SIZE))
    for row in range(rows):
        for column in range(2):
            start = (column * width + (row % 2) * width // 2) % SIZE
            columns = (start + np.arange(width)) % SIZE
            band = slice(row * height, (row + 1) * height)
            brightness[band, columns] = 1.0 + 0.025 * generator.uniform(-1, 1)
            brightness[band, columns[:3]] = 0.86
        brightness[row * height : row * height + 3] = 0.86
    return shaded(color, brightness)


def write_textures(folder: Path) -> None:
    generator = np.random.default_rng(7)
    images = {
        "oak.png": wood(generator, (0.78, 0.60, 0.40)),
        "walnut.png": wood(generator, (0.56, 0.38, 0.25)),
        "beech.png": wood(generator, (0.88, 0.72, 0.52)),
        "planks.png": planks(generator, (0.80, 0.69, 0.55)),
        "tiles.png": tiles(generator, (0.93, 0.94, 0.92)),
    }
    for name, image in images.items():
        Image.fromarray(image).save(folder / name)
