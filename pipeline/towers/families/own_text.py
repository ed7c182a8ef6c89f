"""open_clip's own text transformer, in a model of its own or within CLIP itself."""

from functools import partial
from typing import Any

import torch
from open_clip.coca_model import CoCa
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.transformer import TextTransformer
from torch import Tensor, nn

from pipeline.towers.families.own import block_of
from pipeline.towers.norms import is_layer_norm
from pipeline.towers.readout import Readout
from pipeline.towers.text_tower import Mask, TextTower, in_order, place_read, read_first
from pipeline.towers.tower import Refused

_KINDS = ("first", "last", "argmax", "eos")


class OwnText:
    """The family of `open_clip.transformer.TextTransformer`, and of CLIP's that has its parts."""

    name = "open_clip text transformer"

    def claims(self, clip: Any) -> bool:
        """Whether the model's texts are encoded by exactly that class, or by its parts."""
        if type(clip) is CLIP:
            return True
        return type(clip) in (CustomTextCLIP, CoCa) and type(clip.text) is TextTransformer

    def tower(self, clip: Any) -> TextTower:
        """Say where things are."""
        within = type(clip) is CLIP
        parts = clip if within else clip.text
        if not is_layer_norm(parts.ln_final):
            raise Refused(f"{type(parts.ln_final).__name__} as last norm is no LayerNorm")
        appended = None if within else parts.cls_emb
        pool = clip.text_pool_type if within else parts.pool_type
        kind: Any = pool if appended is None else "cls"
        if kind not in (*_KINDS, "cls"):
            raise Refused(f"pooling {kind!r} returns no single embedding of a text")
        eos = clip.text_eos_id if within else parts.eos_id
        more = int(appended is not None)
        project = _project(parts.text_projection)
        readout = Readout(kind, slice(0, 1), post=parts.ln_final, project=project)

        def place(ids: Tensor) -> Tensor:
            return place_read(kind, eos, ids, ids.shape[1] + more)

        def embed(ids: Tensor) -> Tensor:
            dtype = parts.transformer.get_cast_dtype()
            x = parts.token_embedding(ids).to(dtype)
            if appended is not None:
                x = torch.cat([x, appended.expand(len(x), 1, -1).to(dtype)], dim=1)
            x = x + parts.positional_embedding[: x.shape[1]].to(dtype)
            return in_order(x, read_first(place(ids), x.shape[1]))

        d_model = parts.token_embedding.embedding_dim
        return TextTower(
            family=self.name,
            visual=_Within(clip) if within else parts,
            embed=embed,
            blocks=tuple(block_of(b, i) for i, b in enumerate(parts.transformer.resblocks)),
            readout=readout,
            prefix=0,
            grid=(1, len(parts.positional_embedding)),
            d_model=d_model,
            d_joint=readout.width(d_model),
            place=place,
            mask=partial(_mask, parts, None if within else parts),
        )


class _Within(nn.Module):
    """The text encoder of a CLIP that has its parts as its own."""

    def __init__(self, clip: CLIP) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, ids: Tensor) -> Tensor:
        found: Tensor = self.clip.encode_text(ids)
        return found


def _project(projection: Any) -> tuple[tuple[Tensor, Tensor | None], ...]:
    if projection is None:
        return ()
    if isinstance(projection, nn.Linear):
        return ((projection.weight, projection.bias),)
    return ((projection.T, None),)


def _mask(parts: Any, padded: TextTransformer | None, ids: Tensor) -> Mask | None:
    """Return the causal mask and, where the tower has one, that of padding."""
    tokens = ids.shape[1]
    mask: Tensor | None = None
    if padded is not None and (padded.use_pad_mask or padded.cls_emb is not None):
        tokens += int(padded.cls_emb is not None)
        dtype = padded.positional_embedding.dtype
        # one for each head, all alike
        mask = padded._build_additive_mask(ids, tokens, dtype)[:: padded.heads]
    if parts.attn_mask is None:
        return mask
    causal = parts.attn_mask[:tokens, :tokens].expand(len(ids), -1, -1)
    return causal if mask is None else mask + causal


TEXT_FAMILY = OwnText()
