"""Light and weather over the whole picture, objects included; colours stay readable."""

from functools import cache

import numpy as np
from jaxtyping import Float32

from demo.world.factors import FACTORS
from demo.world.noise import cut, smooth

Picture = Float32[np.ndarray, "row column channel"]


@cache
def _axis(side: int) -> Float32[np.ndarray, " pixel"]:
    """From -1 at one edge of the picture to 1 at the other."""
    return np.linspace(-1, 1, side, dtype=np.float32)


def _down(side: int) -> Float32[np.ndarray, "row 1"]:
    """From 0 at the top to 1 at the bottom."""
    return np.asarray((_axis(side) + 1) / 2)[:, None]


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
    down, across = _down(len(picture)), _axis(len(picture))
    beam = np.clip(
        np.float32(0.55) - down * np.float32(0.7) + side * across * np.float32(0.45), 0, 1
    )
    lit = picture * np.float32(1.08) + np.float32(6)
    return np.asarray(lit + (beam * strength)[..., None] * _rgb(64, 60, 40))


def _dim(picture: Picture, strength: np.float32, rng: np.random.Generator) -> Picture:
    """Little, bluish light, darker towards the corners."""
    dx, dy = (rng.random(2) * 0.6 - 0.3).astype(np.float32)
    axis = _axis(len(picture))
    radius = (axis[None, :] - dx) ** 2 + (axis[:, None] - dy) ** 2
    light = np.float32(0.71) / strength - np.float32(0.12) * radius
    return np.asarray(picture * np.clip(light, 0.3, 1)[..., None] * _rgb(0.86, 0.92, 1.1))


def _sunset(picture: Picture, strength: np.float32) -> Picture:
    """Warm light that glows from below and fades to mauve above."""
    warm = picture * _rgb(1.02, 0.86, 0.70)
    down = _down(len(picture))
    glow = (down * np.float32(0.9) + np.float32(0.1)) * strength
    return np.asarray(
        warm + glow[..., None] * _rgb(58, 26, 0) + (1 - down)[..., None] * _rgb(22, 0, 18)
    )


def _misty(picture: Picture, strength: np.float32, rng: np.random.Generator) -> Picture:
    """Pale fog in drifting banks: contrast falls, hue stays."""
    banks = cut(smooth(32, 2), len(picture), rng)
    fog = np.clip(np.float32(0.42) * strength + banks * np.float32(0.16), 0.2, 0.62)[..., None]
    return np.asarray(picture * (1 - fog) + fog * _rgb(206, 212, 218))
