"""What the heads of the small CLIP do, measured on pictures whose factors are known."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, UInt8
from PIL import Image
from torch import Tensor

from demo.zeroshot import Classifiers, accuracies
from pipeline.heads.decompose import Decomposer
from pipeline.heads.frames import head_frames
from pipeline.towers.models import LoadedModel


@dataclass(frozen=True)
class Encoded:
    """Unit-norm embeddings of some pictures and their parts (DESIGN §2).

    `heads` holds the heads' contributions in their head frames, whose bases are `frames`.
    """

    embedding: Float32[np.ndarray, "image d_joint"]
    heads: Float32[np.ndarray, "image layer head d_head"]
    mlp: Float32[np.ndarray, "image layer d_joint"]
    frames: Float[np.ndarray, "layer head d_joint d_head"]


def encode(
    model: LoadedModel, images: UInt8[np.ndarray, "image side side 3"], batch: int = 250
) -> Encoded:
    """Decompose the embeddings of pictures, through open_clip's own transform."""
    frames = head_frames(model.tower, range(model.record.n_layers))
    decomposer = Decomposer(model.tower, frames)
    found = [
        decomposer(torch.stack([model.transform(Image.fromarray(image)) for image in part]))
        for part in np.array_split(images, -(-len(images) // batch))
    ]
    return Encoded(
        embedding=torch.cat([part.embedding for part in found]).numpy(),
        heads=torch.cat([part.stacked() for part in found]).numpy(),
        mlp=torch.cat([part.mlp for part in found]).numpy(),
        frames=frames.q,
    )


def shares(encoded: Encoded) -> tuple[Float[np.ndarray, "layer head"], Float[np.ndarray, " layer"]]:
    """Shares of heads and of MLPs in the output's variance: ⟨c − c̄, e − ē⟩ / var(e)."""
    centred = encoded.embedding - encoded.embedding.mean(0)
    total = np.square(centred).sum()
    in_frames = np.einsum("nj,lhjd->nlhd", centred, encoded.frames)
    heads = (in_frames * (encoded.heads - encoded.heads.mean(0))).sum((0, 3))
    mlps = np.einsum("nj,nlj->l", centred, encoded.mlp - encoded.mlp.mean(0))
    return heads / total, mlps / total


def ablated(
    encoded: Encoded, heads: Bool[np.ndarray, "layer head"]
) -> Float[np.ndarray, "image d_joint"]:
    """Embeddings with some heads' contributions replaced by their means (direct effect)."""
    layers, numbers = np.nonzero(heads)
    moved = encoded.heads[:, layers, numbers] - encoded.heads[:, layers, numbers].mean(0)
    return encoded.embedding - np.einsum("nsd,sjd->nj", moved, encoded.frames[layers, numbers])


def without_mlps(encoded: Encoded) -> Float[np.ndarray, "image d_joint"]:
    """Embeddings with all MLPs' direct contributions replaced by their means."""
    return encoded.embedding - (encoded.mlp - encoded.mlp.mean(0)).sum(1)


def explained(
    vectors: Float[np.ndarray, "image layer head d_head"], codes: Int[np.ndarray, " image"]
) -> Float[np.ndarray, "layer head"]:
    """R² of each head for one factor: variance between the factor's values over total variance.

    Variances are traces over the contribution's coordinates; pictures without a value (code −1)
    are left out.
    """
    has_value = codes >= 0
    _, number = np.unique(codes[has_value], return_inverse=True)
    centred = vectors[has_value] - vectors[has_value].mean(0)
    member = np.eye(number.max() + 1, dtype=vectors.dtype)[number]
    sums = np.tensordot(member.T, centred, 1)
    sizes = member.sum(0)[:, None, None, None]
    between: Float[np.ndarray, "layer head"] = (np.square(sums) / sizes).sum((0, 3))
    return between / np.square(centred).sum((0, 3))


@dataclass(frozen=True)
class HeadFactors:
    """R² [layer, head] of every factor, and the highest that shuffled factors gave any head."""

    r2: dict[str, Float[np.ndarray, "layer head"]]
    null: dict[str, float]

    def dedicated(
        self, factors: Sequence[str], own: float = 0.5, others: float = 0.2
    ) -> Iterator[tuple[str, int, int]]:
        """(factor, layer, head) with R² of at least `own` there and at most `others` elsewhere.

        `factors` are those that count: of two of which one follows from the other, give one.
        """
        for factor in factors:
            values = self.r2[factor]
            rival = np.max([self.r2[name] for name in factors if name != factor], axis=0)
            for layer, head in np.argwhere((values >= own) & (rival <= others)):
                yield factor, int(layer), int(head)


def head_factors(
    encoded: Encoded, factors: Mapping[str, Int[np.ndarray, " image"]], *, shuffles: int, seed: int
) -> HeadFactors:
    """R² of heads against factors, with the null from shuffling each factor among pictures."""
    rng = np.random.default_rng(seed)
    r2 = {name: explained(encoded.heads, codes) for name, codes in factors.items()}
    null = {
        name: max(
            float(explained(encoded.heads, rng.permutation(codes)).max()) for _ in range(shuffles)
        )
        for name, codes in factors.items()
    }
    return HeadFactors(r2, null)


def score(
    embedding: Float[np.ndarray, "image d_joint"],
    factors: Mapping[str, Int[np.ndarray, " image"]],
    classifiers: Classifiers,
) -> dict[str, float]:
    """Zero-shot accuracy per factor of embeddings, ablated or not."""
    features: Tensor = torch.from_numpy(np.asarray(embedding, dtype=np.float32))
    return accuracies(features, factors, classifiers)


def head_costs(
    encoded: Encoded,
    factors: Mapping[str, Int[np.ndarray, " image"]],
    classifiers: Classifiers,
) -> Float[np.ndarray, "layer head factor"]:
    """Accuracy lost per factor when one head is mean-ablated."""
    before = np.array(list(score(encoded.embedding, factors, classifiers).values()))
    costs = np.empty((*encoded.heads.shape[1:3], len(before)))
    for place in np.ndindex(*costs.shape[:2]):
        one = np.zeros(costs.shape[:2], dtype=bool)
        one[place] = True
        after = score(ablated(encoded, one), factors, classifiers)
        costs[place] = before - np.array(list(after.values()))
    return costs
