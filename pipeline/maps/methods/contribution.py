"""The paper's maps: direct contributions split by image token, as numbers for each text.

What head h of layer l adds to the embedding from token j is c_j = Σ_i w_i α_ij v_j · T^{l,h} A, for
whatever tokens i the embedding is read from, with their weights w (Gandelsman et al., ICLR 2024,
section 5; DESIGN §2, TOWERS §1). Of a tower that pools by attention it is the pool's own heads that
are mapped: they are what writes to the embedding. A map is Σ_{l,h} ⟨c_j, t − mean_k t_k⟩ over the
label set k. The texts go through T first, so a layer costs one product of [token, d_model] with
[d_model, text]; nothing of size [layer, token, head, d_joint] is ever made.
"""

from collections.abc import Callable, Collection, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pipeline.maps.base import (
    Maps,
    as_tower,
    check_labels,
    check_texts,
    first_tokens,
    grid_of,
    on_grid,
    unit,
    wide,
)
from pipeline.maps.folded import fold_texts, through_output, through_pool
from pipeline.maps.method import map_method
from pipeline.towers import norms
from pipeline.towers.tower import Tower

# Numbers of a layer's maps (picture x head x token x text) that are there at a time.
CELLS = 2**24


@map_method(
    "contribution",
    title="contribution",
    shows="Σ over layers and heads of ⟨c_i, t − mean_k t_k⟩",
    source="arXiv 2310.05916",
    signed=True,
    needs="attention",
    unit="cosine",
    by_head=True,
)
def contribution(
    tower: Tower,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
    heads: Bool[Tensor, "n_layers n_heads"] | None = None,
) -> Maps:
    """Return the map of each text against the label set's mean; with `heads`, of those alone.

    In units of cosine: the map's sum is what the heads' image tokens add to ⟨embedding, t − mean⟩.
    `heads` has a row for each layer; of a pool's heads, the last.

    Raises:
        UsageError: the only label is the text itself: the map would be zero everywhere.
    """
    grid = grid_of(tower, pixels)
    total = wide(pixels.new_zeros(len(pixels), texts.shape[-2], grid[0] * grid[1]))

    def add(layer: int, spread: Tensor, through: Tensor) -> None:
        nonlocal total
        if heads is not None:
            row = heads[min(layer, len(heads) - 1), : spread.shape[1]]
            spread = spread * row[:, None, None].to(spread)
        total = total + (spread.transpose(1, 2).flatten(2) @ through.flatten(-3, -2)).mT

    scale, embedding = _walk(tower, pixels, texts, labels, add)
    return Maps(on_grid(total.to(scale.dtype) * scale[:, None, None], grid), embedding)


def head_contributions(
    tower: Tower | nn.Module,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
    heads: Sequence[tuple[int, int]],
) -> Float[Tensor, "head image text grid_h grid_w"]:
    """Return one map for each of `heads`, in their order; they sum to `contribution` of the set.

    Raises:
        UsageError: the only label is the text itself: the maps would be zero everywhere.
    """
    tower = as_tower(tower)
    found: dict[tuple[int, int], Tensor] = {}

    def keep(layer: int, spread: Tensor, through: Tensor) -> None:
        for head in {head for of, head in heads if of == layer}:
            found[layer, head] = (spread[:, head] @ through[..., head, :, :]).mT

    scale, _ = _walk(tower, pixels, texts, labels, keep)
    grid = grid_of(tower, pixels)
    return torch.stack(
        [on_grid(found[key].to(scale.dtype) * scale[:, None, None], grid) for key in heads]
    )


def each_layer(
    tower: Tower | nn.Module,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
    visit: Callable[[int, slice, Tensor], None],
    layers: Collection[int] | None = None,
    cells: int = CELLS,
) -> Float[Tensor, " image"]:
    """Call `visit` with the maps of all heads, [image, head, token, text], one part at a time.

    A part is a layer and as many texts as make at most `cells` numbers, or one text: `visit` gets
    the layer's number, which texts, and the maps. They lack the factor that is returned, since it
    is known only at the end. Image tokens only; of all layers, or of those in `layers`.
    """

    def reach(layer: int, spread: Tensor, through: Tensor) -> None:
        if layers is not None and layer not in layers:
            return
        step = max(1, cells // spread[..., 0].numel())
        for start in range(0, through.shape[-1], step):
            some = slice(start, start + step)
            visit(layer, some, spread @ through[..., some])

    return _walk(as_tower(tower), pixels, texts, labels, reach)[0]


Visit = Callable[[int, Tensor, Tensor], None]
"""Gets a layer's number, what its heads read of each image token [image, head, token, d_head], and
the texts for it [*image, head, d_head, text]: their product is the layer's maps but for a factor.
"""


def _walk(
    tower: Tower,
    pixels: Float[Tensor, "image 3 height width"],
    texts: Float[Tensor, "*image text d_joint"],
    labels: Float[Tensor, "label d_joint"],
    visit: Visit,
) -> tuple[Float[Tensor, " image"], Float[Tensor, "image d_joint"]]:
    """Run the image encoder; return the factor of the maps, and the unit-norm embedding."""
    check_texts(texts, len(pixels))
    check_labels(texts, labels)
    asked = texts - labels.mean(dim=0)
    if tower.readout.pool is not None:
        return _walk_pool(tower, pixels, asked, visit)
    readout, folded = tower.readout, fold_texts(tower, asked)
    weights = None
    if not readout.early:
        # each token's own scale is known only when the pass is over
        assert readout.pre is not None
        z = _states(tower, pixels)[:, readout.tokens]
        weights = 1 / (norms.sigma_of(readout.pre, z) * z.shape[1])
    x = first_tokens(tower, pixels)
    for layer, block in enumerate(tower.blocks):
        queries = 1 if readout.single and layer == tower.n_layers - 1 else None
        y = block.norm(x)
        q, k, v = block.project(y, queries)
        alpha = block.alpha(q[:, :, :1] if readout.single else q, k)
        o = block.attend(x, queries) if queries is None else block.gated(alpha @ v, y)
        written = block.write(o)
        share = _share(tower, x.shape[1], weights, written.heads, alpha)
        spread = _read(tower, alpha, share, v, None if block.gate is None else block.gate(y))
        visit(layer, spread, through_output(block, folded).unflatten(-2, (block.n_heads, -1)))
        x = x[:, : o.shape[2]] + written.update
        x = x + block.mlp(x)
    joint = wide(readout.embed(x))
    scale = 1 / joint.norm(dim=-1)
    norm = readout.post or readout.pre
    if readout.early and norm is not None:
        scale = scale / norms.sigma_of(norm, x[:, readout.tokens].mean(dim=1))
    return scale, unit(joint)


def _states(
    tower: Tower, pixels: Float[Tensor, "image 3 height width"]
) -> Float[Tensor, "image token d_model"]:
    x = first_tokens(tower, pixels)
    for block in tower.blocks:
        x = block.after(x)
    return x


def _share(
    tower: Tower,
    tokens: int,
    weights: Float[Tensor, "image read"] | None,
    heads: Float[Tensor, "image token"] | None,
    alpha: Tensor,
) -> Float[Tensor, "image query"]:
    """Return w_i of the queries, with the scale of what each token's heads write."""
    single = tower.readout.single
    share = alpha.new_zeros(len(alpha), 1 if single else tokens)
    read = share[:, tower.readout.tokens]
    read += 1 / read.shape[1] if weights is None else weights.to(share)
    return share if heads is None else share * heads[:, : share.shape[1]].to(share)


def _read(
    tower: Tower,
    alpha: Float[Tensor, "image n_heads query token"],
    share: Float[Tensor, "image query"],
    v: Float[Tensor, "image n_heads token d_head"],
    gate: Float[Tensor, "image n_heads token d_head"] | None,
) -> Float[Tensor, "image n_heads image_token d_head"]:
    """Return Σ_i w_i α_ij v_j of image tokens j, the queries' gate applied."""
    image = slice(tower.prefix, None)
    if gate is None:
        return torch.einsum("bq,bhqj->bhj", share, alpha)[:, :, image, None] * v[:, :, image]
    gate = gate[..., : share.shape[1], :]
    return torch.einsum("bq,bhqj,bhqd->bhjd", share, alpha, gate)[:, :, image] * v[:, :, image]


def _walk_pool(
    tower: Tower,
    pixels: Float[Tensor, "image 3 height width"],
    asked: Float[Tensor, "*image text d_joint"],
    visit: Visit,
) -> tuple[Float[Tensor, " image"], Float[Tensor, "image d_joint"]]:
    """The same of the pool's own heads: c_j = α_{p,j} v_j W_O^p A / σ."""
    readout, pool = tower.readout, tower.readout.pool
    assert pool is not None and tower.pool_layer is not None
    z = _states(tower, pixels)[:, readout.tokens]
    y = z if readout.pre is None else readout.pre(z)
    attended = pool.attended(y)
    spread = attended.alpha[..., None] * attended.v
    skipped = tower.prefix - (readout.tokens.start or 0)
    through = through_pool(tower, asked).unflatten(-2, (pool.n_heads, -1))
    visit(tower.pool_layer, spread[:, :, skipped:], through)
    made = pool.write(attended.o)
    total = made.total if made.mlp is None else made.total + made.mlp
    joint = wide(readout.finish(total))
    scale = 1 / joint.norm(dim=-1)
    if readout.post is not None:
        scale = scale / norms.sigma_of(readout.post, total)
    return scale, unit(joint)
