"""Places: each has its own drawing, varied from picture to picture, and calm enough to read on."""

from collections.abc import Callable
from functools import cache
from typing import Final

import numpy as np
from jaxtyping import Float32, Int

from demo.world.factors import FACTORS, IMAGE_SIZE
from demo.world.noise import TILE, cut, smooth

Picture = Float32[np.ndarray, "row column channel"]
Field = Float32[np.ndarray, "row column"]


def background(code: int, side: int, rng: np.random.Generator) -> Picture:
    """Draw the place of this code, `side` pixels square; RGB in 0..255, not clipped."""
    return _PAINTERS[FACTORS["background"][code]](side, rng)


def _rows(side: int) -> Int[np.ndarray, "row 1"]:
    return np.arange(side)[:, None]


def _columns(side: int) -> Int[np.ndarray, "1 column"]:
    return np.arange(side)[None, :]


def _depth(side: int) -> Float32[np.ndarray, "row 1"]:
    """From 0 at the top to 1 at the bottom."""
    return np.asarray(np.arange(side, dtype=np.float32) / np.float32(side - 1))[:, None]


def _rgb(*channels: float | int) -> Float32[np.ndarray, " channel"]:
    return np.array(channels, dtype=np.float32)


def _blend(low: tuple[int, int, int], high: tuple[int, int, int], share: Field) -> Picture:
    """Mix two colours by a field in 0..1 (not clipped)."""
    start, end = _rgb(*low), _rgb(*high)
    return np.asarray(start + (end - start) * share[..., None])


def _triangle(phase: Field) -> Field:
    """Periodic wave in 0..1 of period 1: a sine without a C library's last bit."""
    part = phase - np.floor(phase)
    wave = 1 - np.abs(2 * part - 1)
    return np.asarray(wave * wave * (3 - 2 * wave))


def _uniform(rng: np.random.Generator, low: float | int, high: float | int) -> np.float32:
    return np.float32(low + (high - low) * rng.random())


def _water(side: int, rng: np.random.Generator) -> Picture:
    teal = rng.random() < 0.5
    low, high = ((20, 104, 128), (92, 176, 186)) if teal else ((24, 84, 142), (96, 158, 200))
    near = np.float32(0.4) + _depth(side)
    bend = cut(smooth(32, 2), side, rng)
    phase = _uniform(rng, 7, 10) * np.sqrt(_depth(side) + np.float32(0.15)) * np.float32(1.3)
    waves = _triangle(phase + bend * np.float32(0.9) + _uniform(rng, 0, 1))
    picture = _blend(low, high, np.float32(0.75) - np.float32(0.5) * _depth(side) + 0 * bend)
    picture += ((waves - np.float32(0.5)) * np.float32(34) * near)[..., None]
    crest = np.clip(waves + cut(smooth(8, 2), side, rng) * np.float32(0.6) - np.float32(0.98), 0, 1)
    return np.asarray(picture + (crest * np.float32(190))[..., None])


@cache
def _blades() -> Field:
    """Light of a tile of grass blades, drawn back to front."""
    rng = np.random.default_rng(41)
    light = np.full((TILE, TILE), 0.25, dtype=np.float32)
    for foot in range(0, TILE + 10, 2):
        for column in rng.integers(0, TILE, size=TILE // 4):
            length, lean = int(rng.integers(4, 9)), int(rng.integers(-1, 2))
            shade = np.float32(rng.integers(20, 100)) / np.float32(100)
            for step in range(length):
                x = (int(column) + lean * step // 3) % TILE
                light[(foot - step) % TILE, x] = shade * (
                    np.float32(0.55) + np.float32(0.06) * step
                )
    return light


def _grass(side: int, rng: np.random.Generator) -> Picture:
    blades = cut(_blades(), side, rng)
    lawn = cut(smooth(32, 2), side, rng)
    share = blades * np.float32(0.9) + lawn * np.float32(0.16)
    dry = rng.random() < 0.4
    low, high = ((48, 88, 30), (176, 190, 92)) if dry else ((30, 84, 34), (138, 194, 84))
    return _blend(low, high, share)


def _sand(side: int, rng: np.random.Generator) -> Picture:
    bend = cut(smooth(32, 3), side, rng)
    slant = _uniform(rng, -0.05, 0.05) * _columns(side).astype(np.float32)
    phase = (
        _rows(side).astype(np.float32) * _uniform(rng, 0.09, 0.14) + slant + bend * np.float32(1.1)
    )
    ripples = _triangle(phase) - np.float32(0.5)
    grain = cut(smooth(1), side, rng)
    share = np.float32(0.5) + ripples * np.float32(0.42) + grain * np.float32(0.16)
    share = share + cut(smooth(48), side, rng) * np.float32(0.2)
    return _blend((186, 150, 98), (238, 212, 160), share)


def _night_sky(side: int, rng: np.random.Generator) -> Picture:
    haze = cut(smooth(48, 3), side, rng)
    picture = _blend(
        (8, 10, 34), (44, 40, 92), _depth(side) * np.float32(0.8) + haze * np.float32(0.35)
    )
    band = np.abs(
        _rows(side)
        - _uniform(rng, 10, side - 10)
        - (_columns(side) - side // 2) * _uniform(rng, -0.8, 0.8)
    ).astype(np.float32)
    glow = np.clip(1 - band / np.float32(14 * side / IMAGE_SIZE), 0, 1) * (np.float32(0.7) + haze)
    picture = picture + glow[..., None] * _rgb(40, 34, 58)
    stars = 44 * side**2 // IMAGE_SIZE**2
    row, column = rng.integers(0, side, size=(2, stars))
    light = rng.integers(70, 235, size=stars).astype(np.float32)
    picture[row, column] += light[:, None]
    for y, x in zip(row[:6].tolist(), column[:6].tolist(), strict=True):
        picture[max(y - 1, 0) : y + 2, x] += np.float32(70)
        picture[y, max(x - 1, 0) : x + 2] += np.float32(70)
    return np.asarray(picture)


def _brick(side: int, rng: np.random.Generator) -> Picture:
    height, width = int(rng.integers(7, 10)), int(rng.integers(14, 19))
    rows = _rows(side) + int(rng.integers(0, height))
    columns = _columns(side) + int(rng.integers(0, width)) + rows // height % 2 * (width // 2)
    tints = rng.integers(0, 100, size=(16, 16)).astype(np.float32) / np.float32(100)
    share = tints[rows // height % 16, columns // width % 16] + cut(
        smooth(4, 2), side, rng
    ) * np.float32(0.3)
    red = rng.random() < 0.7
    low, high = ((112, 56, 44), (166, 96, 76)) if red else ((112, 92, 78), (160, 136, 116))
    picture = _blend(low, high, share)
    in_row, in_column = rows % height, columns % width
    picture[(in_row == 1) & (in_column > 0)] += np.float32(16)
    picture[(in_row == height - 1) & (in_column > 0)] -= np.float32(18)
    mortar = (in_row == 0) | (in_column == 0)
    picture[mortar] = _rgb(186, 176, 164)
    return picture


def _snow(side: int, rng: np.random.Generator) -> Picture:
    drift = cut(smooth(48, 3), side, rng)
    slope = _triangle(_depth(side) * _uniform(rng, 1.2, 2.2) + drift * np.float32(0.5))
    share = (
        np.float32(0.35) + slope * np.float32(0.5) + cut(smooth(2), side, rng) * np.float32(0.08)
    )
    picture = _blend((172, 192, 220), (240, 245, 252), share)
    flakes = 40 * side**2 // IMAGE_SIZE**2
    row, column = rng.integers(0, side - 1, size=(2, flakes))
    picture[row, column] = np.float32(255)
    picture[row + 1, column] -= np.float32(14)
    large = slice(0, flakes // 3)
    picture[row[large], column[large] + 1] = np.float32(255)
    picture[row[large] + 1, column[large]] = np.float32(255)
    picture[row[large] + 1, column[large] + 1] = np.float32(252)
    return picture


def _forest(side: int, rng: np.random.Generator) -> Picture:
    leaves = cut(smooth(8, 3), side, rng)
    picture = _blend((16, 44, 26), (76, 118, 62), np.float32(0.5) + leaves * np.float32(0.6))
    picture *= np.float32(1.12) - np.float32(0.45) * _depth(side)[..., None]
    bark = cut(smooth(4, 2), side, rng)
    left = -int(rng.integers(0, 6))
    while left < side:
        width = int(rng.integers(3, 7))
        far = _uniform(rng, 0.45, 1.0)
        trunk = slice(max(left, 0), min(max(left + width, 0), side))
        across = (np.arange(trunk.start, trunk.stop, dtype=np.float32) - left) / np.float32(width)
        round_light = 1 - np.abs(across * 2 - np.float32(0.5))
        share = bark[:, trunk] * np.float32(0.4) + round_light * np.float32(0.8)
        picture[:, trunk] = _blend((40, 28, 22), (112, 84, 58), share) * far + picture[:, trunk] * (
            1 - far
        ) * np.float32(0.6)
        left += width + int(rng.integers(7, 15))
    tufts = np.clip(
        cut(smooth(4, 2), side, rng) + (_depth(side) - np.float32(0.86)) * np.float32(9), 0, 1
    )
    ground = _blend((34, 60, 26), (82, 112, 46), np.float32(0.5) + leaves * np.float32(0.5))
    return np.asarray(picture + (ground - picture) * tufts[..., None])


def _city(side: int, rng: np.random.Generator) -> Picture:
    sky = _blend(
        (118, 132, 158), (196, 200, 206), _depth(side) + 0 * _columns(side).astype(np.float32)
    )
    picture = sky + (cut(smooth(24, 2), side, rng) * np.float32(10))[..., None]
    for shade, lowest, highest in ((118, 4, 26), (82, 18, 42)):
        left = -int(rng.integers(0, 8))
        while left < side:
            width, top = (
                int(rng.integers(9, 17)),
                int(rng.integers(lowest, highest)) * side // IMAGE_SIZE,
            )
            grey = np.float32(shade + int(rng.integers(-12, 13)))
            right = min(left + width, side)
            block = picture[top:, max(left, 0) : right]
            block[...] = grey * _rgb(0.94, 1.0, 1.1)
            lit = rng.random(size=(16 * side // IMAGE_SIZE, 6)) < 0.35
            panes = block[2::4, 2::3]
            lamps = lit[: panes.shape[0], : panes.shape[1]]
            panes[lamps[: panes.shape[0]]] = _rgb(226, 206, 140)
            panes[~lamps] = grey * _rgb(0.7, 0.76, 0.86)
            block[:, -1:] *= np.float32(0.8)
            left += width + int(rng.integers(0, 3))
    return np.asarray(picture)


_PAINTERS: Final[dict[str, Callable[[int, np.random.Generator], Picture]]] = {
    "water": _water,
    "grass": _grass,
    "sand": _sand,
    "night sky": _night_sky,
    "brick": _brick,
    "snow": _snow,
    "forest": _forest,
    "city": _city,
}
