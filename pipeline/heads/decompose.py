"""The embedding as an exact sum of components: heads, MLPs, biases, the first token, a constant.

    embedding(I) = const + init(I) + Σ_l mlp^l(I) + Σ_l bias^l(I) + Σ_{l,h} c^{l,h}(I)

LayerNorm is affine once its scale σ(I) is fixed at the value it really takes (Gandelsman et al.,
ICLR 2024, section 3; DESIGN §2). Each component is centred by its own mean; the output biases b_O
and beta·P are components of their own. All is divided by the embedding's norm.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor

from pipeline.heads.frames import output_map
from pipeline.heads.stored_frames import Frames
from pipeline.towers.forward import Parts, forward_parts
from schemas.errors import DecompositionError

# Largest |sum of parts - embedding| on unit-norm embeddings, by arithmetic. In float32 random and
# trained towers of up to 24 layers stay below 2e-6; half precision rounds the residual stream
# itself at each layer, which no part can know of. Measured in docs/benchmarks.md.
TOLERANCE = {
    torch.float64: 1e-10,
    torch.float32: 2e-5,
    torch.float16: 1e-2,
    torch.bfloat16: 6e-2,
}


@dataclass(frozen=True)
class Decomposition:
    """Components of unit-norm embeddings.

    Attributes:
        embedding: unit norm.
        norm: length before.
        sigma: scale of the last LayerNorm, sqrt(var + eps).
        vectors: direct contributions of the stored layers' heads, in their head frames.
        mlp: direct contributions of all layers' MLPs.
        init: direct contribution of the token that enters the first block.
    """

    embedding: Float[Tensor, "image d_joint"]
    norm: Float[Tensor, " image"]
    sigma: Float[Tensor, " image"]
    vectors: Float[Tensor, "image layer n_heads d_head"]
    mlp: Float[Tensor, "image n_layers d_joint"]
    init: Float[Tensor, "image d_joint"]


class Decomposer:
    """The constants of one image encoder and its frames, held on the model's device.

    Low-precision models compute their parts in their own precision; what happens after the last
    residual state is float32 (float64 for a float64 model).
    """

    def __init__(self, visual: VisionTransformer, frames: Frames) -> None:
        """Take the frames of the layers to store; constants follow from the weights."""
        weight = visual.proj
        self.visual = visual
        self.dtype = torch.float64 if weight.dtype == torch.float64 else torch.float32

        def here(tensor: Tensor) -> Tensor:
            return tensor.to(device=weight.device, dtype=self.dtype)

        readout = output_map(visual)
        self.readout: Float[Tensor, "d_model d_joint"] = here(readout)
        self.r: Float[Tensor, "layer n_heads d_head d_head"] = here(torch.from_numpy(frames.r))
        self.q: Float[Tensor, "layer n_heads d_joint d_head"] = here(torch.from_numpy(frames.q))
        self.layers = [int(layer) for layer in frames.layers]
        self.const: Float[Tensor, " d_joint"] = here(_constant(visual))
        biases = torch.stack([_output_bias(block) for block in visual.transformer.resblocks])
        self.bias: Float[Tensor, "n_layers d_joint"] = here(biases @ readout)

    @torch.inference_mode()
    def __call__(self, pixels: Float[Tensor, "image 3 height width"]) -> Decomposition:
        """Decompose a batch of preprocessed pictures."""
        return self.assemble(forward_parts(self.visual, pixels))

    def assemble(self, parts: Parts) -> Decomposition:
        """Turn residual-stream parts into components of the unit-norm embedding."""
        z = parts.residual.to(self.dtype)
        sigma = (z.var(dim=-1, correction=0) + self.visual.ln_post.eps).sqrt()
        raw = z @ self.readout / sigma[:, None] + self.const
        norm = raw.norm(dim=-1)
        scale = 1 / (sigma * norm)
        heads = parts.heads[:, self.layers].to(self.dtype)
        vectors = torch.einsum("blhi,lhji->blhj", heads, self.r)
        return Decomposition(
            embedding=raw / norm[:, None],
            norm=norm,
            sigma=sigma,
            vectors=vectors * scale[:, None, None, None],
            mlp=parts.mlp.to(self.dtype) @ self.readout * scale[:, None, None],
            init=parts.init.to(self.dtype) @ self.readout * scale[:, None],
        )

    def rest(self, parts: Parts, found: Decomposition) -> Float[Tensor, "image d_joint"]:
        """Return the sum of the contributions of all heads whose layers are not stored."""
        others = [i for i in range(parts.heads.shape[1]) if i not in self.layers]
        total = torch.zeros_like(found.embedding)
        for layer in others:
            block = self.visual.transformer.resblocks[layer]
            o = parts.heads[:, layer].flatten(1).to(self.dtype)
            out = o @ block.attn.out_proj.weight.T.to(self.dtype)
            scale = getattr(block.ls_1, "gamma", None)
            out = out if scale is None else out * scale.to(self.dtype)
            total = total + out @ self.readout
        return total / (found.sigma * found.norm)[:, None]

    def sum_parts(self, found: Decomposition) -> Float[Tensor, "image d_joint"]:
        """Return const + init + Σ mlp + Σ bias + Σ heads over the *stored* layers."""
        heads = torch.einsum("blhi,lhji->bj", found.vectors, self.q)
        bias = self.bias.sum(dim=0) / (found.sigma * found.norm)[:, None]
        const = self.const / found.norm[:, None]
        return const + found.init + found.mlp.sum(dim=1) + bias + heads

    @torch.inference_mode()
    def check(self, pixels: Float[Tensor, "image 3 height width"]) -> float:
        """Compare the sum of parts with the model's own `encode_image`, and return the difference.

        Raises:
            DecompositionError: the largest difference of any coordinate of the unit-norm
                embedding is above `TOLERANCE` of the model's arithmetic.
        """
        own = self.visual(pixels).to(self.dtype)
        own = own / own.norm(dim=-1, keepdim=True)
        parts = forward_parts(self.visual, pixels)
        found = self.assemble(parts)
        off = float((self.sum_parts(found) + self.rest(parts, found) - own).abs().max())
        allowed = TOLERANCE[self.visual.proj.dtype]
        if not off <= allowed:
            raise DecompositionError(
                f"the parts differ from encode_image by {off:.2e} on the first batch, allowed is "
                f"{allowed:.0e} in {self.visual.proj.dtype}; nothing was written. Check the "
                "checkpoint for NaN, try --precision fp32, or report this model"
            )
        return off


def _constant(visual: VisionTransformer) -> Float[Tensor, " d_joint"]:
    """Return beta·P in float64."""
    projection = visual.proj.detach().double().cpu()
    beta = visual.ln_post.bias
    if beta is None:
        return torch.zeros(projection.shape[1], dtype=torch.float64)
    return beta.detach().double().cpu() @ projection


def _output_bias(block: ResidualAttentionBlock) -> Float[Tensor, " d_model"]:
    """Return λ ⊙ b_O in float64."""
    attn = block.attn
    bias = attn.out_proj.bias
    if bias is None:
        return torch.zeros(attn.embed_dim, dtype=torch.float64)
    scale = getattr(block.ls_1, "gamma", None)
    bias = bias.detach().double().cpu()
    return bias if scale is None else bias * scale.detach().double().cpu()
