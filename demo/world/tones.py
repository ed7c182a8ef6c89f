"""Light and weather over the whole picture, objects included; colours stay readable."""

from typing import Final

import numpy as np
from jaxtyping import Float32

from demo.world.factors import FACTORS, IMAGE_SIZE
from demo.world.noise import cut, smooth

Picture = Float32[np.ndarray, "row column channel"]

_AXIS: Final = np.linspace(-1, 1, IMAGE_SIZE, dtype=np.float32)
_DOWN: Final = ((_AXIS + 1) / 2)[:, None]


def toned(picture: Picture, code: int, rng: np.random.Generator) -> Picture:
    """Apply the tone of this code to RGB in 0..255; the result may leave that range."""
    strength = np.float32(0.85 + 0.3 * rng.random())
    match FACTORS["tone"][code]:
        case "bright":
            return _bright(picture, strength, rng)
        case "dim":
            return _dim(picture, strength, rng)
        case "sunset":
            return _sunset(picture, strength)
        case _:
            return _misty(picture, strength, rng)


def _rgb(*channels: float | int) -> Float32[np.ndarray, " channel"]:
    return np.array(channels, dtype=np.float32)


def _bright(picture: Picture, strength: np.float32, rng: np.random.Generator) -> Picture:
    """Full contrast, and a soft sunbeam from an upper corner."""
    side = np.float32(1 if rng.random() < 0.5 else -1)
    beam = np.clip(
        np.float32(0.55) - _DOWN * np.float32(0.7) + side * _AXIS * np.float32(0.45), 0, 1
    )
    lit = picture * np.float32(1.08) + np.float32(6)
    return np.asarray(lit + (beam * strength)[..., None] * _rgb(64, 60, 40))


def _dim(picture: Picture, strength: np.float32, rng: np.random.Generator) -> Picture:
    """Little, bluish light, darker towards the corners."""
    dx, dy = (rng.random(2) * 0.6 - 0.3).astype(np.float32)
    radius = (_AXIS[None, :] - dx) ** 2 + (_AXIS[:, None] - dy) ** 2
    light = np.float32(0.71) / strength - np.float32(0.12) * radius
    return np.asarray(picture * np.clip(light, 0.3, 1)[..., None] * _rgb(0.86, 0.92, 1.1))


def _sunset(picture: Picture, strength: np.float32) -> Picture:
    """Warm light that glows from below and fades to mauve above."""
    warm = picture * _rgb(1.02, 0.86, 0.70)
    glow = (_DOWN * np.float32(0.9) + np.float32(0.1)) * strength
    return np.asarray(
        warm + glow[..., None] * _rgb(58, 26, 0) + (1 - _DOWN)[..., None] * _rgb(22, 0, 18)
    )


def _misty(picture: Picture, strength: np.float32, rng: np.random.Generator) -> Picture:
    """Pale fog in drifting banks: contrast falls, hue stays."""
    banks = cut(smooth(32, 2), rng)
    fog = np.clip(np.float32(0.42) * strength + banks * np.float32(0.16), 0.2, 0.62)[..., None]
    return np.asarray(picture * (1 - fog) + fog * _rgb(206, 212, 218))
