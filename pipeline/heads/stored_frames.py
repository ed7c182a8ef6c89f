"""Head frames as they are stored and loaded; `pipeline.heads.frames` computes them."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from safetensors.numpy import load_file, save

from schemas.errors import CorruptStore


@dataclass(frozen=True)
class Frames:
    """The frames of a scan's stored layers, in float64.

    Attributes:
        q: orthonormal columns; c / norm = Q · vector.
        r: upper triangular, diagonal >= 0; T = Rᵀ Qᵀ, and vector = o Rᵀ / (σ · norm).
        layers: 0-based layers, ascending.
    """

    q: Float[np.ndarray, "layer n_heads d_joint d_head"]
    r: Float[np.ndarray, "layer n_heads d_head d_head"]
    layers: Int[np.ndarray, " layer"]

    def to_bytes(self) -> bytes:
        """Return the frames as safetensors: `q`, `r`, `layers`."""
        return save({"q": self.q, "r": self.r, "layers": self.layers})

    def digest(self) -> str:
        """Return the sha256 of `to_bytes`."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def load_frames(path: Path, expected_sha256: str) -> Frames:
    """Load frames.safetensors.

    Raises:
        CorruptStore: the file is absent or differs from the digest in scan.json.
    """
    if not path.is_file():
        raise CorruptStore(f"{path} is missing; run the scan with --restart")
    frames = Frames(**load_file(path))
    if frames.digest() != expected_sha256:
        raise CorruptStore(
            f"{path} has digest {frames.digest()[:12]}, scan.json says {expected_sha256[:12]}; "
            "restore the file or run the scan with --restart"
        )
    return frames
