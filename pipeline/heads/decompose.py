"""The embedding as an exact sum of components: heads, MLPs, biases, the first tokens, a constant.

    embedding(I) = const + init(I) + Σ_l mlp^l(I) + Σ_l bias^l(I) + Σ_{l,h} c^{l,h}(I)

LayerNorm is affine once its scale σ(I) is fixed at the value it really takes (Gandelsman et al.,
ICLR 2024, section 3; DESIGN §2). Each component is centred by its own mean; the output biases b_O
and beta·P are components of their own. All is divided by the embedding's norm.

A tower that pools by attention has a second sum, of the pool's own heads as layer L (TOWERS §1):

    embedding(I) = const + bias^L(I) + Σ_p c^{L,p}(I) + pool_mlp(I)
    Σ_p c^{L,p}(I) = pool_bias(I) + init(I) + Σ_l mlp^l(I) + Σ_l bias^l(I) + Σ_{l,h} c^{l,h}(I)

Where the pool's MLP is `gated`, each of these goes on through it as through a linear map, and
pool_mlp is what its biases add.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.heads.stored_frames import Frames
from pipeline.heads.through import Attention, GatedAttention, Mean, Reading
from pipeline.towers.forward import Parts, Step, forward_parts
from pipeline.towers.tower import Inputs, Tower
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
# The same of half-precision products on a single-precision residual stream, against its own end.
MIXED = 1e-4
# Bytes of tokens' parts that are kept at a time: on a CPU few, since what is kept beyond them is
# given back to the system and asked for again at each layer; and tokens, below which products slow.
KEPT = {"cpu": 2**26, "cuda": 2**29}
TOKENS = 784
Component = tuple[str, int]


@dataclass(frozen=True)
class Decomposition:
    """Components of unit-norm embeddings.

    Attributes:
        embedding: unit norm.
        norm: length before.
        sigma: scale of the last LayerNorm, sqrt(var + eps); 1 / Σ_i w_i where each token has its
            own; 1 where there is none.
        vectors: direct contributions of the stored layers' heads, in their head frames.
        mlp: direct contributions of all layers' MLPs; of none where the trunk is not looked at.
        init: direct contribution of the tokens that enter the first block; None likewise.
        others: by component and layer, what else varies: biases of which tokens differ, pool_mlp.
    """

    embedding: Float[Tensor, "image d_joint"]
    norm: Float[Tensor, " image"]
    sigma: Float[Tensor, " image"]
    vectors: Mapping[int, Float[Tensor, "image _ _"]]
    mlp: Float[Tensor, "image n_layers d_joint"]
    init: Float[Tensor, "image d_joint"] | None
    others: Mapping[Component, Float[Tensor, "image d_joint"]] = field(default_factory=dict)

    def stacked(self) -> Float[Tensor, "image layer n_heads width"]:
        """Return the vectors of all stored layers as one, where they are of one shape."""
        return torch.stack(list(self.vectors.values()), dim=1)


def _joined(found: Sequence[Decomposition]) -> Decomposition:
    """Return the decompositions of parts of a batch as one."""
    first = found[0]
    init = None if first.init is None else torch.cat([f.init for f in found if f.init is not None])
    return Decomposition(
        embedding=torch.cat([f.embedding for f in found]),
        norm=torch.cat([f.norm for f in found]),
        sigma=torch.cat([f.sigma for f in found]),
        vectors={n: torch.cat([f.vectors[n] for f in found]) for n in first.vectors},
        mlp=torch.cat([f.mlp for f in found]),
        init=init,
        others={key: torch.cat([f.others[key] for f in found]) for key in first.others},
    )


class Decomposer:
    """The constants of one image encoder and its frames, held on the model's device.

    Low-precision models compute their parts in their own precision; what happens after the last
    residual state is float32 (float64 for a float64 model).

    Attributes:
        const: beta·P and what else the embedding is of no picture.
        bias: directions that only vary in length, as 1 / (σ norm); a row for each of `bias_keys`.
    """

    def __init__(
        self, tower: Tower, frames: Frames, *, mlp: bool = False, gated: bool = False
    ) -> None:
        """Take the frames of the layers to store; constants follow from the weights.

        Behind a pool, MLPs are looked at only with `mlp` or when trunk heads are stored. With
        `gated`, parts go on through the pool's MLP (`GatedAttention`).

        Raises:
            UnsupportedModel: `gated`, and the pool has no MLP that can be.
        """
        self.tower, self.mlp = tower, mlp
        self.dtype = torch.float64 if tower.dtype == torch.float64 else torch.float32
        self.layers = [int(layer) for layer in frames.layers]
        self.trunk = [layer for layer in self.layers if layer != tower.pool_layer]
        self.through: Mean | Attention
        if gated:
            self.through, framed = GatedAttention(tower, self.dtype), []
        elif tower.readout.pool is None:
            self.through, framed = Mean(tower, self.dtype), self.layers
        else:
            self.through, framed = Attention(tower, self.dtype), [tower.n_layers]
        self.const: Float[Tensor, " d_joint"] = self.through.const
        self.q = {n: self._here(frames.of(n)) for n in self.layers if n in framed}
        self.r = {n: self._here(frames.pairs[n][1]) for n in self.q}
        self.prepared = {n: self._prepared(n) for n in self.trunk if n not in framed}
        self.biases = [block.biases() for block in tower.blocks]
        self.bias_keys, self.bias = self._directions()

    @property
    def looks_at_trunk(self) -> bool:
        """Whether parts of the trunk are wanted, and not the pool's heads alone."""
        return self.tower.readout.pool is None or bool(self.trunk) or self.mlp

    @torch.inference_mode()
    def __call__(
        self, inputs: Inputs, watch: Callable[[Step], None] | None = None
    ) -> Decomposition:
        """Decompose a batch of preprocessed pictures, or of tokenised texts.

        `watch` is shown every block as it is walked.
        """
        if not self.looks_at_trunk:
            return self._assemble_pool(self.tower.states(inputs))
        some = self._at_a_time()
        found = [
            self.assemble(forward_parts(self.tower, part, self.trunk, watch))
            for part in inputs.split(some or len(inputs))
        ]
        return found[0] if len(found) == 1 else _joined(found)

    def _at_a_time(self) -> int | None:
        """Return how many pictures' tokens may be kept together; None for any number.

        Where each token has a weight of its own, known only at the end, every stored layer's
        heads and every MLP are kept for all tokens.
        """
        if self.tower.readout.early:
            return None
        blocks = self.tower.blocks
        heads = sum(blocks[layer].n_heads * blocks[layer].d_head for layer in self.trunk)
        numbers = heads + (self.tower.n_layers + 2) * self.tower.d_model
        tokens = self.tower.prefix + self.tower.grid[0] * self.tower.grid[1]
        size = torch.empty(0, dtype=self.dtype).element_size()
        most = KEPT.get(self.tower.device.type, KEPT["cuda"])
        return max(1, most // (numbers * tokens * size), TOKENS // tokens)

    def assemble(self, parts: Parts) -> Decomposition:
        """Turn residual-stream parts into components of the unit-norm embedding."""
        reading = self.through.read(parts.residual)
        norm = reading.raw.norm(dim=-1)
        scale = 1 / norm if reading.divide is None else 1 / (reading.divide * norm)
        init = self._weigh(parts.init, reading)
        mlps = [self._weigh(m, reading) for m in parts.mlp]
        mlp = torch.stack(mlps, dim=2) if mlps else init[:, :, None][:, :, :0]
        vectors = {n: self._heads(n, parts.heads[n], reading) for n in self.trunk}
        vectors = {n: v * scale[:, None, None] for n, v in vectors.items()}
        others = {
            key: bias * scale[:, None] for key, bias in self._varying_biases(parts, reading).items()
        }
        if reading.pooled is not None:
            vectors |= self._pool_heads(reading, scale)
            others |= self._pool_others(reading, scale)
        return Decomposition(
            embedding=reading.raw / norm[:, None],
            norm=norm,
            sigma=reading.sigma,
            vectors=vectors,
            mlp=self.through.joint(mlp, reading) * scale[:, None, None],
            init=self.through.joint(init, reading) * scale[:, None],
            others=others,
        )

    def _assemble_pool(self, residual: Float[Tensor, "image token d_model"]) -> Decomposition:
        """Decompose by the pool's own heads alone."""
        assert isinstance(self.through, Attention)
        reading = self.through.read(self.tower.readout.reduce(residual), weigh=False)
        norm = reading.raw.norm(dim=-1)
        scale = 1 / (reading.sigma * norm)
        return Decomposition(
            embedding=reading.raw / norm[:, None],
            norm=norm,
            sigma=reading.sigma,
            vectors=self._pool_heads(reading, scale),
            mlp=reading.raw.new_zeros(len(norm), 0, self.tower.d_joint),
            init=None,
            others=self._pool_others(reading, scale),
        )

    def _weigh(
        self, x: Float[Tensor, "image read *axes"], reading: Reading
    ) -> Float[Tensor, "image p *axes"]:
        """Return Σ_i w_{p,i} x_i."""
        if reading.weights is None:
            return x.to(self.dtype)
        flat = reading.weights @ x.flatten(2).to(self.dtype)
        return flat.unflatten(2, x.shape[2:])

    def _heads(
        self, layer: int, o: Float[Tensor, "image read n_heads d_head"], reading: Reading
    ) -> Float[Tensor, "image n_heads width"]:
        """Return a trunk layer's vectors, without the last scale."""
        weighed = self._weigh(o, reading)
        if layer in self.prepared:
            return self.through.heads(weighed, self.prepared[layer], reading)
        return torch.einsum("bhi,hji->bhj", weighed[:, 0], self.r[layer])

    def _pool_heads(
        self, reading: Reading, scale: Float[Tensor, " image"]
    ) -> dict[int, Float[Tensor, "image pool_head width"]]:
        layer = self.tower.n_layers
        if layer not in self.layers or reading.pooled is None:
            return {}
        o = reading.pooled.heads.to(self.dtype)
        if isinstance(self.through, GatedAttention):
            written = torch.einsum("bhk,hkd->bhd", o, self.through.out)
            return {layer: self.through.end(written, reading) * scale[:, None, None]}
        return {layer: torch.einsum("bhi,hji->bhj", o, self.r[layer]) * scale[:, None, None]}

    def _pool_others(
        self, reading: Reading, scale: Float[Tensor, " image"]
    ) -> dict[Component, Float[Tensor, "image d_joint"]]:
        """Return what the pool's MLP adds of itself, and gated what the pool's biases become."""
        assert isinstance(self.through, Attention)
        layer = self.tower.n_layers
        found = {("pool_mlp", layer): self.through.mlp(reading)}
        if isinstance(self.through, GatedAttention):
            rows = {"bias": self.through.bias, "pool_bias": self.through.value_bias}
            for name in ("bias", "pool_bias")[: 1 + self.looks_at_trunk]:
                wide = rows[name].expand(len(scale), -1)
                found[name, layer] = self.through.end(wide, reading)
        return {key: part * scale[:, None] for key, part in found.items() if part is not None}

    def _varying_biases(
        self, parts: Parts, reading: Reading
    ) -> dict[Component, Float[Tensor, "image d_joint"]]:
        """Return the biases that are not one direction: Σ_i w_i (fixed + s_i scaled) A."""
        layers = [n for n in range(self.tower.n_layers) if ("bias", n) not in self.bias_keys]
        if not layers:
            return {}
        ones = torch.ones(parts.init.shape[:2], dtype=self.dtype, device=parts.init.device)
        fixed = torch.stack([self._here(self.biases[n].fixed) for n in layers])
        weighed = self._weigh(ones[..., None], reading)[..., None] * fixed
        for at, layer in enumerate(layers):
            scaled = self.biases[layer].scaled
            if scaled is not None:
                by_token = self._weigh(parts.bias[layer][..., None], reading)
                weighed[:, :, at] += by_token * self._here(scaled)
        joint = self.through.joint(weighed, reading)
        return {("bias", layer): joint[:, at] for at, layer in enumerate(layers)}

    def rest(self, parts: Parts, found: Decomposition) -> Float[Tensor, "image d_joint"]:
        """Return the sum of the contributions of all trunk heads whose layers are not stored."""
        reading = self.through.read(parts.residual)
        total = torch.zeros_like(found.embedding)
        for layer in set(parts.heads) - set(self.layers):
            weighed = self._weigh(parts.heads[layer], reading)
            total = total + self.through.heads(weighed, self._prepared(layer), reading).sum(dim=1)
        divide = found.norm if reading.divide is None else reading.divide * found.norm
        return total / divide[:, None]

    def sum_parts(self, found: Decomposition) -> Float[Tensor, "image d_joint"]:
        """Return const + init + Σ mlp + Σ bias + Σ heads over the *stored* layers of the trunk."""
        pool_heads = self._joint_of(found, [self.tower.pool_layer])
        trunk = self._joint_of(found, self.trunk) + found.mlp.sum(dim=1)
        total = self._fixed(found) + trunk
        total = total + sum(found.others.values(), torch.zeros_like(total))
        if found.init is None:
            return total + pool_heads
        return total + found.init

    def sum_pool(self, found: Decomposition) -> Float[Tensor, "image d_joint"]:
        """Return const + bias + Σ heads + mlp of the pool's own layer, if it is stored."""
        layer = self.tower.pool_layer
        total = self._fixed(found, [("bias", layer)])
        others = [
            part for (name, n), part in found.others.items() if n == layer and name != "pool_bias"
        ]
        total = total + sum(others, torch.zeros_like(total))
        return total + self._joint_of(found, [layer])

    def modules(self, found: Decomposition) -> dict[Component, Float[Tensor, "image d_joint"]]:
        """Return what each stored layer's attention, heads and bias, adds, and each MLP.

        By `attention` or `mlp` and layer; an attention pool's own are layer n_layers.
        """
        total = {
            ("attention", layer): self._joint_of(found, [layer]) + self._bias_of(found, layer)
            for layer in self.layers
        }
        total |= {("mlp", layer): found.mlp[:, layer] for layer in range(found.mlp.shape[1])}
        pool_mlp = {n: part for (name, n), part in found.others.items() if name == "pool_mlp"}
        return total | {("mlp", layer): part for layer, part in pool_mlp.items()}

    def _bias_of(self, found: Decomposition, layer: int) -> Float[Tensor, "image d_joint"]:
        key = ("bias", layer)
        if key in found.others:
            return found.others[key]
        row = self.bias[self.bias_keys.index(key)]
        return row / (found.sigma * found.norm)[:, None]

    def _fixed(
        self, found: Decomposition, keys: "list[tuple[str, int | None]] | None" = None
    ) -> Float[Tensor, "image d_joint"]:
        """Return const, and the biases named (None: all) that are one direction."""
        rows = [i for i, key in enumerate(self.bias_keys) if keys is None or key in keys]
        bias = self.bias[rows].sum(dim=0) / (found.sigma * found.norm)[:, None]
        return self.const / found.norm[:, None] + bias

    def _joint_of(
        self, found: Decomposition, layers: "list[int | None] | list[int]"
    ) -> Float[Tensor, "image d_joint"]:
        total = torch.zeros_like(found.embedding)
        for layer in layers:
            if layer is not None and layer in found.vectors:
                vectors = found.vectors[layer]
                if layer in self.q:
                    vectors = torch.einsum("bhi,hji->bhj", vectors, self.q[layer])
                total = total + vectors.sum(dim=1)
        return total

    @torch.inference_mode()
    def check(self, inputs: Inputs) -> float:
        """Compare the sums of parts with the tower's own output; return the difference.

        Raises:
            DecompositionError: the largest difference of any coordinate of the unit-norm
                embedding is above `TOLERANCE` of the model's arithmetic.
        """
        own = self.tower.own(inputs).to(self.dtype)
        own = own / own.norm(dim=-1, keepdim=True)
        sums = []
        if self.looks_at_trunk:
            parts = forward_parts(self.tower, inputs)
            found = self.assemble(parts)
            sums.append(self.sum_parts(found) + self.rest(parts, found))
        else:
            found = self(inputs)
        if self.tower.pool_layer in self.layers:
            sums.append(self.sum_pool(found))
        off = max(float((total - own).abs().max()) for total in sums)
        allowed = TOLERANCE[self.tower.dtype]
        if self.tower.mixed and off <= allowed:
            # the model's own forward rounds its residual stream: the walk's is compared closely
            off = max(float((total - found.embedding).abs().max()) for total in sums)
            allowed = MIXED
        if not off <= allowed:
            raise DecompositionError(
                f"the parts differ from the model's own embedding by {off:.2e} on the first batch, "
                f"allowed is {allowed:.0e} in {self.tower.dtype}; nothing was written. Check the "
                "checkpoint for NaN, try --precision fp32, or report this model"
            )
        return off

    def _directions(self) -> tuple[list[Component], Float[Tensor, "row d_joint"]]:
        """Return the biases that only vary in length: their names, and their directions."""
        rows: dict[Component, Tensor] = {}
        if isinstance(self.through, Mean):
            readout = self.through.exact
            for layer, (fixed, scaled) in enumerate(self.biases):
                if scaled is None:
                    rows["bias", layer] = self._here(fixed @ readout)
        elif not self.through.gated:
            rows["bias", self.tower.n_layers] = self.through.bias
            if self.looks_at_trunk:
                rows["pool_bias", self.tower.n_layers] = self.through.value_bias
        empty = torch.zeros(0, self.tower.d_joint, dtype=self.dtype, device=self.tower.device)
        return list(rows), torch.stack(list(rows.values())) if rows else empty

    def _prepared(self, layer: int) -> Tensor:
        return self.through.prepare(self.tower.blocks[layer].transform())

    def _here(self, tensor: Tensor | np.ndarray) -> Tensor:
        found = torch.as_tensor(np.array(tensor)) if isinstance(tensor, np.ndarray) else tensor
        return found.to(device=self.tower.device, dtype=self.dtype)
