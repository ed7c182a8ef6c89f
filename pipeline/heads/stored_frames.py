"""Head frames as they are stored and loaded; `pipeline.heads.frames` computes them."""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from safetensors.numpy import load_file, save

from schemas.errors import CorruptStore, UsageError

Pair = tuple[
    Float[np.ndarray, "_ d_joint _"],
    Float[np.ndarray, "_ _ _"],
]


@dataclass(frozen=True)
class Frames:
    """The frames of a scan's stored layers, in float64.

    Attributes:
        pairs: by layer, ascending (the pool's is the number of blocks), Q and R of its heads. Q
            has orthonormal columns and c / norm = Q · vector; R is upper triangular with
            diagonal >= 0, T = Rᵀ Qᵀ and vector = o Rᵀ / (σ · norm). Both are the identity where
            heads are stored in the joint space itself.
    """

    pairs: Mapping[int, Pair]

    @classmethod
    def stacked(
        cls,
        q: Float[np.ndarray, "layer n_heads d_joint d_head"],
        r: Float[np.ndarray, "layer n_heads d_head d_head"],
        layers: Int[np.ndarray, " layer"],
    ) -> "Frames":
        """Return frames of layers that are alike."""
        return cls({int(layer): (q[i], r[i]) for i, layer in enumerate(layers)})

    @property
    def layers(self) -> Int[np.ndarray, " layer"]:
        """The stored layers."""
        return np.asarray(list(self.pairs), dtype=np.int64)

    @property
    def q(self) -> Float[np.ndarray, "layer n_heads d_joint d_head"]:
        """All layers' Q as one.

        Raises:
            UsageError: layers have frames of different widths.
        """
        return self._stack(0)

    @property
    def r(self) -> Float[np.ndarray, "layer n_heads d_head d_head"]:
        """All layers' R as one; raises as `q` does."""
        return self._stack(1)

    def _stack(self, which: int) -> Float[np.ndarray, "layer n_heads rows d_head"]:
        if not self.alike:
            widths = {layer: q.shape[2] for layer, (q, _) in self.pairs.items()}
            raise UsageError(
                f"this scan's layers have vectors of different widths ({widths}): a trunk behind "
                "a pool is stored in the joint space; ask for layers of one kind"
            )
        return np.stack([pair[which] for pair in self.pairs.values()])

    @property
    def alike(self) -> bool:
        """Whether all layers have frames of one shape, and none is the joint space itself."""
        shapes = {q.shape for q, _ in self.pairs.values()}
        return len(shapes) == 1 and len(self.narrow()) == len(self.pairs)

    def of(self, layer: int) -> Float[np.ndarray, "n_heads d_joint width"]:
        """Return Q of one stored layer's heads."""
        return self.pairs[layer][0]

    def narrow(self) -> dict[int, Float[np.ndarray, "_ d_joint _"]]:
        """Return Q by layer, of the layers that are not stored in the joint space itself."""
        return {layer: q for layer, (q, _) in self.pairs.items() if not _is_identity(q)}

    def to_bytes(self) -> bytes:
        """Return the frames as safetensors.

        `q`, `r`, `layers`; or where widths differ `q.LAYER` and `r.LAYER`, and for a layer in the
        joint space its number of heads and width, as `joint.LAYER`.
        """
        if self.alike:
            return save({"q": self.q, "r": self.r, "layers": self.layers})
        named: dict[str, np.ndarray] = {"layers": self.layers}
        for layer, (q, r) in self.pairs.items():
            if _is_identity(q):
                named[f"joint.{layer}"] = np.asarray(q.shape[:2], np.int64)
            else:
                named[f"q.{layer}"], named[f"r.{layer}"] = q, r
        return save(named)

    @classmethod
    def from_named(cls, named: Mapping[str, np.ndarray]) -> "Frames":
        """Read what `to_bytes` wrote."""
        if "q" in named:
            return cls.stacked(**named)
        pairs: dict[int, Pair] = {}
        for layer in named["layers"].tolist():
            if f"joint.{layer}" in named:
                eye = identities(*named[f"joint.{layer}"].tolist())
                pairs[layer] = (eye, eye)
            else:
                pairs[layer] = (named[f"q.{layer}"], named[f"r.{layer}"])
        return cls(pairs)

    def digest(self) -> str:
        """Return the sha256 of `to_bytes`."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def identities(n_heads: int, width: int) -> Float[np.ndarray, "n_heads width width"]:
    """Return identities that take the memory of one."""
    return np.broadcast_to(np.eye(width), (n_heads, width, width))


def _is_identity(q: Float[np.ndarray, "n_heads rows width"]) -> bool:
    return q.strides[0] == 0 and q.shape[1] == q.shape[2]


def load_frames(path: Path, expected_sha256: str) -> Frames:
    """Load frames.safetensors.

    Raises:
        CorruptStore: the file is absent or differs from the digest in scan.json.
    """
    if not path.is_file():
        raise CorruptStore(f"{path} is missing; run the scan with --restart")
    with ThreadPoolExecutor(1) as beside:
        digest = beside.submit(_sha256, path)
        frames = Frames.from_named(load_file(path))
        found = digest.result()
    # what another version of safetensors has written may have another header
    if found != expected_sha256 and frames.digest() != expected_sha256:
        raise CorruptStore(
            f"{path} has digest {found[:12]}, scan.json says {expected_sha256[:12]}; "
            "restore the file or run the scan with --restart"
        )
    return frames


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
