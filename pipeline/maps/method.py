"""What a method of maps declares, and how it is called.

A method is one decorated function in a file of `pipeline/maps/methods/`:

    @map_method("tokens", title="plain tokens", shows="cosine of each token", source="arXiv ...")
    def tokens(tower, pixels, texts, labels): ...

Everything that names methods (the commands, the documentation, error messages) asks the registry,
which finds these files.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from jaxtyping import Float
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn

from pipeline.maps.background import BACKGROUND
from pipeline.maps.base import Maps, as_tower, check_texts
from pipeline.maps.words import WordMaps
from pipeline.towers.tower import Tower
from schemas.errors import UnknownName, UnsupportedModel, UsageError

CLIPS: Final = 100.0
"""exp of the logit scale at its ceiling, where the published CLIP models have it."""

Needs = Literal["states", "attention", "gradient"]
"""What a method takes from the pass: tokens' states, attention, or gradients too.

A gradient is taken once for each text, so that texts cost time.
"""


@dataclass(frozen=True)
class Traits:
    """What decides whether a method holds for an image encoder.

    Attributes:
        readout: tok, avg, avg-norm-first, or of a pool: map, coca, attn2d.
        plain: whether its blocks write o W_O + b_O, with a LayerScale at most: no gate, no scales
            of heads, no LayerNorm within or after.
        own: whether its blocks are open_clip's `ResidualAttentionBlock`.
    """

    readout: str
    plain: bool
    own: bool


def traits_of(tower: Tower) -> Traits:
    """Return what a tower is like."""
    return Traits(
        tower.readout.kind,
        all(
            b.gate is None and b.head_scale is None and b.inner is None and b.post is None
            for b in tower.blocks
        ),
        all(type(b.module) is ResidualAttentionBlock for b in tower.blocks),
    )


@dataclass(frozen=True)
class Towers:
    """The image encoders that a method holds for.

    Attributes:
        holds: whether it holds for one.
        otherwise: why not for the others; the end of a sentence that begins with the method.
    """

    holds: Callable[[Traits], bool]
    otherwise: str


ANY: Final = Towers(lambda traits: True, "")
TOKENS: Final = Towers(
    lambda traits: traits.readout in ("tok", "avg", "avg-norm-first"),
    "reads each token as if it were the embedding",
)
CLASS_TOKEN: Final = Towers(
    lambda traits: traits.readout == "tok" and traits.plain,
    "reads the class token through plain attention",
)
OWN_PLAIN: Final = Towers(
    lambda traits: traits.readout == "tok" and traits.own,
    "has rules for the layers of open_clip's plain class-token blocks",
)


@dataclass(frozen=True)
class KindOfTower:
    """Image encoders of which the same methods hold, for the documentation.

    Attributes:
        traits: of one of them.
        models: which they are.
    """

    traits: Traits
    models: str


KINDS: Final = {
    "class token, open_clip's plain blocks": KindOfTower(
        Traits("tok", True, True), "OpenAI's, LAION's and most ViTs of open_clip"
    ),
    "class token, other plain blocks": KindOfTower(
        Traits("tok", True, False),
        "timm's ViT (MobileCLIP-B, MobileCLIP2), EVA01, open_clip's custom block with qk-norm",
    ),
    "class token, blocks with LayerNorms within or after, scaled heads or gates": KindOfTower(
        Traits("tok", False, False), "EVA02, EVA02-E, open_clip's custom block with its options"
    ),
    "average": KindOfTower(Traits("avg", True, True), "CLIPA, ViTamin, timm's ViT with average"),
    "attentional pool": KindOfTower(
        Traits("coca", True, True), "SigLIP, SigLIP 2, Perception Encoder, CoCa, the ResNets"
    ),
}
"""Image encoders as far as methods tell them apart."""


@dataclass(frozen=True)
class Option:
    """A choice that a method leaves open.

    Attributes:
        name: as on the command line, and as the function's keyword.
        default: what the publication does, as it is written on the command line; None: it must be
            given.
        read: from what is written to what the function takes; ValueError if it is neither.
        meaning: for the documentation.
        missing: what to say where it must be given and is not.
    """

    name: str
    default: str | None
    read: Callable[[str], Any]
    meaning: str
    missing: str = ""


@dataclass(frozen=True)
class MapMethod:
    """A method of maps: a function of image encoder, pictures and texts, and what it is.

    Attributes:
        name: on the command line.
        title: in a sentence, over a picture and in a table.
        shows: the map, in a sentence or formula.
        source: where it was published.
        function: the map itself; called with the options as keywords.
        by_text: whether maps differ from text to text.
        signed: whether 0 has a meaning.
        needs: what it takes from the pass.
        towers: which image encoders it holds for.
        options: choices that it leaves open.
        unit: of its values.
        by_head: whether it takes `heads`, to map some heads alone.
        alone: what fewer than three texts are compared with, by methods that compare.
        words: its map of the words of a text, if there is one.
        chosen: options that are not as published, as they are written.
    """

    name: str
    title: str
    shows: str
    source: str
    function: Callable[..., Maps]
    by_text: bool = True
    signed: bool = False
    needs: Needs = "states"
    towers: Towers = ANY
    options: tuple[Option, ...] = ()
    unit: str = "the method's own units"
    by_head: bool = False
    alone: tuple[str, ...] = BACKGROUND
    words: Callable[..., WordMaps] | None = None
    chosen: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Return the name with the options that are not as published: `legrad:layers=all`."""
        free = [o.name for o in self.options if o.default is not None and o.name in self.chosen]
        return ":".join([self.name, *(f"{name}={self.chosen[name]}" for name in free)])

    @property
    def identity(self) -> str:
        """Return the name with every option: what its values depend on."""
        written = {o.name: self.chosen.get(o.name, o.default) for o in self.options}
        return ":".join([self.name, *(f"{name}={text}" for name, text in written.items())])

    @property
    def heading(self) -> str:
        """Return the title as it stands alone, with the options that are not as published."""
        title = self.title[:1].upper() + self.title[1:]
        _, *free = self.key.split(":")
        return ", ".join([title, *(one.replace("=", " ") for one in free)])

    @property
    def ready(self) -> bool:
        """Whether nothing has to be given."""
        return all(o.default is not None or o.name in self.chosen for o in self.options)

    def check_contrast(self) -> None:
        """Refuse the difference of two texts' maps where maps do not differ from text to text.

        Raises:
            UsageError: they do not.
        """
        if not self.by_text:
            raise UsageError(f"method {self.name} is the same for all texts: nothing to contrast")

    def choose(self, given: Mapping[str, str]) -> "MapMethod":
        """Return the method with options, as they are written.

        Raises:
            UnknownName: it has no option of a name.
            UsageError: an option's value cannot be read.
        """
        chosen = dict(self.chosen)
        for name, text in given.items():
            option = next((o for o in self.options if o.name == name), None)
            if option is None:
                known = [o.name for o in self.options] or "none"
                raise UnknownName.among(f"option of map method {self.name}", name, known)
            self._read(option, text)
            chosen[name] = text
        order = [o for o in self.options if o.name in chosen and chosen[o.name] != o.default]
        return replace(self, chosen={o.name: chosen[o.name] for o in order})

    def values(self) -> dict[str, Any]:
        """Return every option as the function takes it.

        Raises:
            UsageError: one that must be given is not.
        """
        for option in self.options:
            if option.default is None and option.name not in self.chosen:
                raise UsageError(option.missing)
        return {o.name: self._read(o, self.chosen.get(o.name, o.default)) for o in self.options}

    def check(self, tower: Tower) -> None:
        """Refuse an image encoder that the method does not hold for.

        Raises:
            UnsupportedModel: it is one.
        """
        traits = traits_of(tower)
        if not self.towers.holds(traits):
            blocks = "" if traits.plain else ", and its blocks' attention is not plain"
            raise UnsupportedModel(
                f"{self.title} {self.towers.otherwise}, this image encoder ({tower.family}) is "
                f"read by {traits.readout!r}{blocks}; use contribution"
            )

    def run(
        self,
        visual: Tower | nn.Module,
        pixels: Float[Tensor, "image 3 height width"],
        texts: Float[Tensor, "*image text d_joint"],
        labels: Float[Tensor, "label d_joint"],
        *,
        logit_scale: float = CLIPS,
        **values: Any,
    ) -> Maps:
        """Return the maps of pictures and texts.

        Args:
            visual: the image encoder, or its tower; it is not changed.
            pixels: preprocessed pictures whose sides are multiples of the patch's.
            texts: unit norm, the same for all pictures or a set for each.
            labels: unit norm, what the texts are compared with by methods that compare.
            logit_scale: the model's, exp of its parameter; used by methods that differentiate the
                logit.
            values: options as the function takes them, in place of those chosen.

        Raises:
            UnsupportedModel: the method does not hold for this image encoder.
            UsageError: shapes do not go together, or an option is missing.
        """
        tower = as_tower(visual)
        self.check(tower)
        check_texts(texts, len(pixels))
        given = values if values.keys() >= {o.name for o in self.options} else self.values()
        if "logit_scale" in inspect.signature(self.function).parameters:
            values["logit_scale"] = logit_scale
        return self.function(tower, pixels, texts, labels, **(given | values))

    __call__ = run

    def _read(self, option: Option, text: str | None) -> Any:
        assert text is not None
        try:
            return option.read(text)
        except ValueError:
            raise UsageError(
                f"map method {self.name}: {option.name} is {text!r}; expected {option.meaning}"
            ) from None


def logit_scale_of(clip: Any) -> float:
    """Return the factor that an open_clip model puts on cosines to make logits."""
    return float(clip.logit_scale.detach().exp())


def map_method(name: str, **declared: Any) -> Callable[[Callable[..., Maps]], MapMethod]:
    """Declare a function as a method of maps; the arguments are `MapMethod`'s."""

    def declare(function: Callable[..., Maps]) -> MapMethod:
        return MapMethod(name=name, function=function, **declared)

    return declare


def count_or_all(text: str) -> int | None:
    """Read a number from 1 on, or `all` as None."""
    if text == "all":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(text)
    return int(text)


def whole(text: str) -> int:
    """Read a number from 0 on."""
    if not text.isdecimal():
        raise ValueError(text)
    return int(text)


def among(*names: str) -> Callable[[str], str]:
    """Return the reader of one of some names."""

    def read(text: str) -> str:
        if text not in names:
            raise ValueError(text)
        return text

    return read
