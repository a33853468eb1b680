"""Pictures that are none of the classes."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from service.contract.arrays import Pixels

SIZE = 32


def foreign_images(known: Pixels, seed: int = 0) -> dict[str, Pixels]:
    """Return kinds of pictures that are none of the classes, as many of each as there are known ones."""
    random = np.random.default_rng(seed)
    count = len(known)
    return {
        "uniform noise": random.integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8),
        "gratings": np.stack([grating(random) for _ in range(count)]),
        "digits": np.stack([digit(random) for _ in range(count)]),
        "shuffled photographs": np.stack([shuffled(image, random) for image in known]),
        "blended photographs": ((known.astype(int) + known[random.permutation(count)]) // 2).astype(np.uint8),
    }


def grating(random: np.random.Generator) -> Pixels:
    """Draw a texture: two crossed waves of random direction, frequency and colours."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    wave = np.zeros((SIZE, SIZE))
    for _ in range(2):
        angle, frequency, phase = random.uniform(0, np.pi), random.uniform(2, 12), random.uniform(0, 2 * np.pi)
        wave += np.sin(2 * np.pi * frequency * (np.cos(angle) * x + np.sin(angle) * y) + phase)
    first, second = random.uniform(0, 255, 3), random.uniform(0, 255, 3)
    share = (wave[..., None] + 2) / 4
    return (first * share + second * (1 - share)).astype(np.uint8)


def digit(random: np.random.Generator) -> Pixels:
    """Draw a printed digit of random size, place and colours."""
    ground, ink = (tuple(int(v) for v in random.integers(0, 256, 3)) for _ in range(2))
    image = Image.new("RGB", (SIZE, SIZE), ground)
    font = ImageFont.load_default(size=int(random.integers(16, 30)))
    place = (int(random.integers(2, 12)), int(random.integers(-4, 6)))
    ImageDraw.Draw(image).text(place, str(random.integers(0, 10)), fill=ink, font=font)
    return np.asarray(image)


def shuffled(image: Pixels, random: np.random.Generator) -> Pixels:
    """Put the picture's sixteen 8 × 8 tiles in another order: its colours and textures remain, its shape goes."""
    tiles = image.reshape(4, 8, 4, 8, 3).swapaxes(1, 2).reshape(16, 8, 8, 3)[random.permutation(16)]
    return tiles.reshape(4, 4, 8, 8, 3).swapaxes(1, 2).reshape(SIZE, SIZE, 3)
