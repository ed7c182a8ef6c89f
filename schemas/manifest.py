"""What a scan says of itself on disk: scan.json, shard manifests and snapshots."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.names import parse_layers


class _Record(BaseModel):
    """A frozen JSON document that refuses fields it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def to_json(self) -> str:
        """Return the document as indented JSON with a newline at its end."""
        return self.model_dump_json(indent=2) + "\n"


def digest(document: object) -> str:
    """Return the sha256 of a JSON-serialisable document in canonical form."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


PoolKind = Literal["tok", "avg", "avg-norm-first", "map", "coca", "attn2d"]
TextPoolKind = Literal["first", "last", "argmax", "eos", "cls"]
PoolMlpSplit = Literal["component", "gated"]


class Preprocessing(_Record):
    """How a picture becomes the model's input."""

    image_size: tuple[int, int] = Field(description="Height and width in pixels.")
    mean: tuple[float, ...] = Field(description="Per channel, of values in 0..1.")
    std: tuple[float, ...] = Field(description="Per channel, of values in 0..1.")
    interpolation: str
    resize_mode: str
    decode: Literal["exact", "scaled"] = Field(
        default="exact",
        description="Whether a large JPEG is scaled down by its own transform while it is decoded.",
    )
    transparent: Literal["dropped", "white"] = Field(
        default="dropped",
        description="What is transparent shows the colour under the alpha, or is laid on white.",
    )


class ModelRecord(_Record):
    """The model of a scan, as far as it decides what is stored."""

    model: str = Field(description="open_clip name, or the name in the config file.")
    pretrained: str = Field(description="Tag, file name or `none`.")
    weights_sha256: str = Field(description="Digest of the weights of the whole model.")
    n_layers: int
    n_heads: int
    d_model: int
    d_head: int
    d_joint: int
    pool: PoolKind = Field(
        description="Read-out: class token; mean of the tokens, then LayerNorm; LayerNorm, then "
        "mean; attention with one query (SigLIP, PE); CoCa's pooler; a CLIP ResNet's."
    )
    preprocessing: Preprocessing
    pool_layer: int | None = Field(
        default=None, description="The pool's heads as a layer: n_layers; None if it has none."
    )
    pool_heads: int | None = Field(default=None, description="Heads of the pool.")
    pool_width: int | None = Field(default=None, description="Width of each of them.")

    def heads_of(self, layer: int) -> int:
        """Return how many heads a layer has."""
        if layer == self.pool_layer:
            assert self.pool_heads is not None
            return self.pool_heads
        return self.n_heads

    @property
    def total_layers(self) -> int:
        """Return how many layers have heads, the pool's included."""
        return self.n_layers + (self.pool_layer is not None)

    def layers_of(self, spec: str | None) -> tuple[int, ...]:
        """Read which layers are asked for; without a word, all that write into the embedding.

        Those are all layers, or behind an attention pool the pool's heads, which `pool` names too.

        Raises:
            UsageError: the text names no layers, or layers that the model does not have.
        """
        if self.pool_layer is not None and spec in (None, "pool"):
            return (self.pool_layer,)
        return parse_layers(spec or "all", self.total_layers)


class ScanRecord(_Record):
    """scan.json: everything that decides the stored numbers, and where they come from."""

    format: Literal[1] = 1
    scan_id: str
    dataset: str
    source: str
    created_at: str = Field(description="UTC, ISO 8601.")
    model: ModelRecord
    model_path: str = Field(description="Model as given: a name, or a config's absolute path.")
    pretrained_path: str = Field(description="Weights as given: a tag, `none`, or absolute path.")
    layers: tuple[int, ...] = Field(description="Layers stored, 0-based, ascending.")
    ln_split: Literal["centred"] = Field(
        default="centred",
        description="How LayerNorm's mean and the biases are split over components: each component "
        "is centred by its own mean; b_O and beta·P are components of their own.",
    )
    pool_mlp: PoolMlpSplit = Field(
        default="component",
        description="The MLP of an attention pool: a component of its own; or gated, its gates and "
        "scale as they are, so that each head goes on through it: an attribution convention.",
    )
    precision: Literal["fp32", "bf16", "fp16"]
    residual: Literal["fp32"] | None = Field(
        default=None,
        description="Residual stream of a half-precision scan; None: as its weights, or fp32.",
    )
    stored: tuple[str, ...] = Field(description="Components stored per picture: head, mlp.")
    frames_sha256: str
    versions: dict[str, str] = Field(description="Versions of the libraries at first scan.")
    zero_shot: dict[str, Any] | None = Field(
        default=None,
        description="Sanity number over labelled pictures: accuracy, chance, classes, and digests "
        "of the pictures and labels that it is of.",
    )

    @property
    def gated(self) -> bool:
        """Whether heads go on through the MLP of the attention pool."""
        return self.pool_mlp == "gated"

    def in_joint_space(self, layer: int) -> bool:
        """Whether a layer's vectors have no frame but the joint space.

        Of trunk heads behind a pool, and of the pool's own where its MLP is gated.
        """
        pool = self.model.pool_layer
        return pool is not None and (self.gated or layer != pool)

    def width_of(self, layer: int) -> int:
        """Return the width of a layer's vectors."""
        if self.in_joint_space(layer):
            return self.model.d_joint
        if layer == self.model.pool_layer:
            assert self.model.pool_width is not None
            return self.model.pool_width
        return self.model.d_head

    def fingerprint(self) -> str:
        """Return the digest of what decides the stored numbers (not batch or shard size)."""
        model = self.model.model_dump(mode="json", exclude={"model", "pretrained"})
        if self.model.pool_layer is None:
            # records from before pools had heads of their own are the same to the last byte
            model = {k: v for k, v in model.items() if not k.startswith("pool_")}
        # likewise records from before there was a choice of decoding
        model["preprocessing"] = {
            k: v
            for k, v in model["preprocessing"].items()
            if (k, v) not in (("decode", "exact"), ("transparent", "dropped"))
        }
        decides = {
            "format": self.format,
            "model": model,
            "layers": self.layers,
            "ln_split": self.ln_split,
            "precision": self.precision,
            "stored": self.stored,
            "frames": self.frames_sha256,
        }
        if self.residual is not None:
            decides["residual"] = self.residual
        if self.gated:
            decides["pool_mlp"] = self.pool_mlp
        return digest(decides)


class FileRecord(_Record):
    """One file of a shard."""

    bytes: int
    sha256: str


class Timing(_Record):
    """Where a shard's time went, in seconds of the worker; stages overlap."""

    read: float = 0.0
    decode: float = 0.0
    model: float = 0.0
    write: float = 0.0
    wall: float = 0.0


class ShardManifest(_Record):
    """manifest.json of a shard, written last: its presence means that the shard is whole."""

    format: Literal[1] = 1
    shard: str
    fingerprint: str = Field(description="Configuration, ScanRecord.fingerprint().")
    members_sha256: str = Field(description="Digest of the members: keys, fingerprints and ids.")
    base_snapshot: int = Field(description="The snapshot this shard was planned against.")
    rows: int
    rejects: int
    first_image_id: int
    last_image_id: int = Field(description="-1 with first_image_id 0 when there are no rows.")
    files: dict[str, FileRecord] = Field(description="By path relative to the shard.")
    layers: tuple[int, ...]
    n_heads: int
    created_at: str
    device: str = Field(description="What the model ran on.")
    timing: Timing


class LiveShard(_Record):
    """A shard as a snapshot names it."""

    shard: str
    rows: int
    rejects: int
    manifest_sha256: str
    pictures_digest: str | None = Field(
        default=None, description="Its part of the snapshot's; absent in format 1."
    )
    labels_digest: str | None = Field(
        default=None, description="Its part of the snapshot's; absent in format 1."
    )


class Snapshot(_Record):
    """snapshots/000017.json: the live shards of a scan; the commit point.

    Format 2 adds the two digests of what the snapshot holds, which know no order and no shards:
    equal digests are equal pictures, or equal labels.
    """

    format: Literal[1, 2] = 2
    number: int
    created_at: str
    fingerprint: str
    shards: tuple[LiveShard, ...]
    next_image_id: int
    images: int
    rejects: int
    pictures_digest: str | None = Field(
        default=None, description="Of (image_id, fingerprint) of all pictures; absent in format 1."
    )
    labels_digest: str | None = Field(
        default=None,
        description="Of (image_id, label, metadata) of all pictures; absent in format 1.",
    )

    @model_validator(mode="after")
    def _has_digests(self) -> "Snapshot":
        parts: list[Snapshot | LiveShard] = [self, *self.shards]
        digests = [d for part in parts for d in (part.pictures_digest, part.labels_digest)]
        if self.format > 1 and None in digests:
            raise ValueError("a snapshot of format 2 lacks a digest of what it holds")
        return self


def members_digest(members: Mapping[int, tuple[str, str]]) -> str:
    """Digest the members of a shard, given image_id -> (key, fingerprint)."""
    return digest([[i, *members[i]] for i in sorted(members)])
