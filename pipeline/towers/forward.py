"""One pass through the image encoder that keeps what each component adds to the pooled token.

The blocks are walked with their weights: open_clip's attention takes a fused path in evaluation
mode, past any hook. The pass costs less than `encode_image`: every head's output at the class
token is computed by any forward pass, and in the last layer only the class token's query, output
projection and MLP are needed.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Parts:
    """What the components add to the pooled token's residual stream.

    Attributes:
        heads: attention-weighted values o of each head at the pooled token, before out_proj.
        mlp: output of each layer's MLP at the pooled token, LayerScale applied.
        init: the pooled token as the first block receives it.
        residual: the pooled token's last state: init + Σ attention + Σ MLP.
    """

    heads: Float[Tensor, "image n_layers n_heads d_head"]
    mlp: Float[Tensor, "image n_layers d_model"]
    init: Float[Tensor, "image d_model"]
    residual: Float[Tensor, "image d_model"]


def forward_parts(
    visual: VisionTransformer, pixels: Float[Tensor, "image 3 height width"]
) -> Parts:
    """Run the image encoder and keep the parts of its pooled token.

    Pooled means the class token, or the mean over image tokens for average pooling (DESIGN §2).
    Does not apply the last LayerNorm and the projection.
    """
    x = visual._embeds(pixels)
    average = visual.pool_type == "avg"

    def pooled(tokens: Float[Tensor, "image token d_model"]) -> Float[Tensor, "image d_model"]:
        # a copy: a view would keep every layer's tokens in memory to the end of the pass
        return tokens[:, 1:].mean(dim=1) if average else tokens[:, 0].clone()

    init = pooled(x)
    heads, mlps = [], []
    last = len(visual.transformer.resblocks) - 1
    for index, block in enumerate(visual.transformer.resblocks):
        only_class = index == last and not average
        query_tokens = 1 if only_class else x.shape[1]
        o = attention_values(block, x, query_tokens)
        merged = o.transpose(1, 2).flatten(2)
        x = x[:, :query_tokens] + block.ls_1(block.attn.out_proj(merged))
        # LayerScale may work in place: what it returns is all that is used afterwards
        mlp = block.ls_2(block.mlp(block.ln_2(x)))
        x = x + mlp
        heads.append(o[:, :, 1:].mean(dim=2) if average else o[:, :, 0].clone())
        mlps.append(pooled(mlp))
    return Parts(torch.stack(heads, 1), torch.stack(mlps, 1), init, pooled(x))


def attention_values(
    block: ResidualAttentionBlock, x: Float[Tensor, "image token d_model"], query_tokens: int
) -> Float[Tensor, "image n_heads query d_head"]:
    """Return Σ_i α_i v_i of each head for the first `query_tokens` tokens, before out_proj."""
    attn: nn.MultiheadAttention = block.attn
    y = block.ln_1(x)
    width, heads = attn.embed_dim, attn.num_heads

    def split(tokens: Tensor, start: int, stop: int) -> Tensor:
        """Project with rows start..stop (in widths) of in_proj: [part, image, head, token, d]."""
        weight = attn.in_proj_weight[start * width : stop * width]
        bias = None
        if attn.in_proj_bias is not None:
            bias = attn.in_proj_bias[start * width : stop * width]
        projected = F.linear(tokens, weight, bias)
        return projected.unflatten(-1, (stop - start, heads, -1)).permute(2, 0, 3, 1, 4)

    if query_tokens == x.shape[1]:
        q, k, v = split(y, 0, 3)
    else:
        (q,) = split(y[:, :query_tokens], 0, 1)
        k, v = split(y, 1, 3)
    return F.scaled_dot_product_attention(q, k, v)
