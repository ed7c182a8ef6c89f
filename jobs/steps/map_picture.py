"""Where the image encoder looks for a text, drawn over a picture: the work of `headatlas map`."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from jobs import console
from jobs.commands.map import MapConfig
from jobs.steps.chosen import heads_mapped, heads_to_map
from jobs.steps.decoding import decoding_of
from jobs.steps.early import weights_given
from jobs.steps.figures import save_figure
from jobs.steps.models import load_for
from pipeline.maps.drawing import Panel, draw_panels
from pipeline.maps.method import MapMethod, logit_scale_of
from pipeline.maps.methods.contribution import head_contributions
from pipeline.maps.picture import picture_for
from pipeline.maps.registry import DECLARED, given_by, method_named
from pipeline.maps.segmenter import Segmenter, check_segmenter
from pipeline.maps.shared import Points, points
from pipeline.masks.base import read_picture
from pipeline.pictures.decode import Decoded
from pipeline.towers.models import LoadedModel, load_model
from schemas.errors import UsageError
from schemas.manifest import ScanRecord
from schemas.names import head_name
from schemas.text import how_many
from warehouse.files.layout import Warehouse
from warehouse.results.roles import heads_of_role
from warehouse.store import snapshots

# Heads on a contact sheet.
STRONGEST = 14
# Whose map of the words is shown, for methods that have none.
WORDS = "chefer-bimodal"


@dataclass(frozen=True)
class MapResult:
    """What was drawn.

    Attributes:
        path: the PNG file.
        titles: of the panels.
        values: the maps behind them.
        scores: cosine of the picture and each text.
        points: one for each panel, where asked for, or a segmenter is given.
        masks: one for each panel, where a segmenter is given; of the picture as it was decoded.
        words: the words of each text and their relevance, where asked for.
    """

    path: Path
    titles: tuple[str, ...]
    values: Float[Tensor, "panel grid_h grid_w"]
    scores: tuple[float, ...]
    points: tuple[Points, ...]
    masks: tuple[Bool[np.ndarray, "height width"], ...]
    words: tuple[tuple[tuple[str, float], ...], ...]

    def points_json(self) -> list[dict[str, object]]:
        """Return the points as what is printed: a title, positive and negative (x, y)."""
        pairs = zip(self.titles, self.points, strict=True) if self.points else ()
        return [{"title": title, **asdict(one)} for title, one in pairs]


@dataclass(frozen=True)
class _Scene:
    picture: Decoded
    loaded: LoadedModel
    pixels: Float[Tensor, "1 3 height width"]
    texts: Float[Tensor, "text d_joint"]
    labels: Float[Tensor, "label d_joint"]


def draw_maps(config: MapConfig) -> MapResult:
    """Draw the maps of a picture for some texts.

    Raises:
        SourceError: the picture cannot be read.
        UsageError: options that do not go together; a model that is not named.
        UnknownName: no such method, scan or role.
    """
    method = method_named(config.method, given_by(config.eclip))
    _check(config, method)
    if config.sam is not None:
        check_segmenter(config.sam)
    loaded, record, role_heads = _model(config)
    method.check(loaded.tower)
    how = decoding_of(record, loaded.record.preprocessing).at(config.size)
    picture = read_picture(config.image, how)
    scene = _scene(config, method, picture, loaded)
    chosen = _chosen(config, loaded, role_heads)
    scale = logit_scale_of(loaded.clip)
    narrowed: dict[str, Any] = {} if chosen is None else {"heads": chosen}
    with console.working(f"{method.name} at {scene.pixels.shape[-1]} x {scene.pixels.shape[-2]}"):
        result = method.run(
            *(loaded.tower, scene.pixels, scene.texts, scene.labels), logit_scale=scale, **narrowed
        )
        strongest = _strongest(scene, config.texts[0], chosen) if config.per_head else None
    if strongest is not None:
        titles, values = strongest
    else:
        values = result.values[0]
        titles = config.texts
        if config.contrast:
            values = (values[0] - values[1])[None]
            titles = (f"{config.texts[0]} − {config.texts[1]}",)
    values = values.float().cpu()
    scores = (result.embedding @ scene.texts.to(result.embedding).T)[0].tolist()
    found, marks = (
        tuple(points(one, width, height) for one in values if config.points or config.sam)
        for width, height in ((picture.width, picture.height), picture.picture.size)
    )
    masks: tuple[np.ndarray, ...] = ()
    if config.sam is not None:
        console.loading("the segmenter")
        masks = tuple(Segmenter(config.sam, loaded.device)(picture.picture, marks))
    _draw(config, method, picture.picture, titles, values, marks, masks)
    words = _words(config, method, loaded, result.embedding) if config.words else ()
    return MapResult(config.output, tuple(titles), values, tuple(scores), found, masks, words)


def _check(config: MapConfig, method: MapMethod) -> None:
    if not config.texts or not all(text.strip() for text in config.texts):
        raise UsageError("TEXTS is missing or empty; give at least one text to look for")
    if config.contrast and len(config.texts) != 2:
        raise UsageError(
            f"contrast: got {how_many(len(config.texts), 'text')}, expected exactly two"
        )
    if config.per_head and (len(config.texts) != 1 or config.contrast):
        raise UsageError("per-head draws one text; give exactly one, without contrast")
    narrowed = config.heads or config.role or config.layers != "all" or config.per_head
    if narrowed and not method.by_head:
        raise UsageError(
            f"method {method.name} has no map of single heads or layers; leave out layers, "
            "heads, role and per-head, or take method contribution"
        )
    if config.contrast:
        method.check_contrast()
    if config.output.suffix.lower() != ".png":
        raise UsageError(f"cannot write to {config.output.name!r}; expected a name ending in .png")


def _model(
    config: MapConfig,
) -> tuple[LoadedModel, ScanRecord | None, tuple[tuple[int, int], ...]]:
    """Return the model, named or the scan's; that scan; and the heads of the role asked for."""
    if config.model is not None and config.role is None:
        return load_model(config.model, weights_given(config.model, config.pretrained)), None, ()
    if config.warehouse is None:
        raise UsageError(
            "role needs a warehouse; give --warehouse"
            if config.role
            else "no model: give --model and --pretrained, or --warehouse for a scan's model"
        )
    scan, _ = snapshots.open_scan(Warehouse(config.warehouse), config.scan)
    heads = heads_of_role(scan, config.role) if config.role else ()
    record = scan.load_record()
    return load_for(record, config.model, config.pretrained), record, heads


def _scene(config: MapConfig, method: MapMethod, picture: Decoded, loaded: LoadedModel) -> _Scene:
    """Encode the picture and the texts, and what they are compared with."""
    preprocessing = loaded.record.preprocessing
    pixels = picture_for(loaded.tower, picture.picture, preprocessing, config.size)
    against = config.against
    if not against and len(config.texts) < 3:
        # two texts against their own mean would be each other's mirror image
        against = method.alone
    texts = loaded.encode_text(list(config.texts))
    labels = loaded.encode_text(list(against)) if against else texts
    device, dtype = loaded.device, loaded.dtype
    return _Scene(
        picture,
        loaded,
        pixels.to(device, dtype),
        texts.to(device, dtype),
        labels.to(device, dtype),
    )


def _chosen(
    config: MapConfig, loaded: LoadedModel, role_heads: tuple[tuple[int, int], ...]
) -> Bool[Tensor, "n_layers n_heads"] | None:
    """Return the heads that --layers, --heads and --role leave; None for all."""
    if config.layers == "all" and not config.heads and config.role is None:
        return None
    return heads_to_map(loaded, config.layers, config.heads, role_heads).to(loaded.device)


def _strongest(
    scene: _Scene, text: str, chosen: Bool[Tensor, "n_layers n_heads"] | None
) -> tuple[tuple[str, ...], Float[Tensor, "panel grid_h grid_w"]]:
    """Return the maps of the heads that move the text's cosine most, up or down."""
    n_layers, n_heads = heads_mapped(scene.loaded)
    pool_layer = scene.loaded.tower.pool_layer
    every = [
        (layer, head)
        for layer in range(n_layers)[slice(pool_layer, None)]
        for head in range(n_heads)
        if chosen is None or bool(chosen[layer, head])
    ]
    maps = head_contributions(scene.loaded.tower, scene.pixels, scene.texts, scene.labels, every)[
        :, 0, 0
    ]
    total = maps.sum(dim=(1, 2))
    order = total.abs().argsort(descending=True)[:STRONGEST].tolist()
    titles = tuple(f"{head_name(*every[i])}  {float(total[i]):+.4f}" for i in order)
    return titles, maps[order]


def _words(
    config: MapConfig,
    method: MapMethod,
    loaded: LoadedModel,
    embedding: Float[Tensor, "1 d_joint"],
) -> tuple[tuple[tuple[str, float], ...], ...]:
    """Return each text's tokens, as words, and how much each matters to this picture."""
    by_words = method if method.words is not None else DECLARED[WORDS]
    assert by_words.words is not None
    tokens = loaded.tokenizer(list(config.texts)).to(loaded.device)
    found = by_words.words(loaded.clip, tokens, embedding, **by_words.values())
    decode_one: Any = getattr(loaded.tokenizer, "decode", None)
    if decode_one is None:
        raise UsageError("words: this model's tokenizer cannot turn its tokens into words")
    return tuple(
        tuple(
            (str(decode_one([int(token)])).strip(), float(value))
            for token, value in zip(tokens[i, 1:end], found.values[0, i, 1:end], strict=True)
        )
        for i, end in enumerate(found.ends.tolist())
    )


def _draw(
    config: MapConfig,
    method: MapMethod,
    picture: Image.Image,
    titles: tuple[str, ...],
    values: Float[Tensor, "panel grid_h grid_w"],
    found: tuple[Points, ...],
    masks: tuple[Bool[np.ndarray, "height width"], ...],
) -> None:
    title = method.heading
    if config.per_head:
        title += f": the strongest heads for “{config.texts[0]}”"
    signed = config.contrast or method.signed
    unit = method.unit
    if config.per_head:
        unit = "share of each head's largest value"
        values = values / values.abs().amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)
    none = (None,) * len(titles)
    panels = [
        Panel(name, one.numpy(), mark, mask)
        for name, one, mark, mask in zip(titles, values, found or none, masks or none, strict=True)
    ]
    save_figure(draw_panels(picture, panels, signed=signed, title=title, unit=unit), config.output)
