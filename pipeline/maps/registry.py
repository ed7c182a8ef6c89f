"""Every method by its name on the command line."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.maps.base import Method
from pipeline.maps.methods import attention, gradient, last_block, lrp, surgery, tokens
from pipeline.maps.methods.contribution import contribution
from pipeline.maps.methods.eclip import eclip, load_projections
from pipeline.maps.methods.traced import traced_contribution
from schemas.errors import UnknownName, UsageError


@dataclass(frozen=True)
class Described:
    """A method, and what a person needs to know to choose it.

    Attributes:
        run: the method.
        title: as it stands over a picture or in a table.
        source: where it was published.
        by_text: whether its map differs from text to text.
        backward: whether it goes backward once for each text, so that texts cost time.
    """

    run: Method
    title: str
    source: str
    by_text: bool = True
    backward: bool = False


METHODS: dict[str, Described] = {
    "contribution": Described(contribution, "Contribution", "arXiv 2310.05916"),
    "traced-contribution": Described(
        traced_contribution, "Traced contribution", "arXiv 2310.05916 with 2005.00928"
    ),
    "tokens": Described(tokens.tokens, "Plain tokens", "CLIP, arXiv 2103.00020"),
    "rclip": Described(tokens.reversed_tokens, "RCLIP", "arXiv 2209.07046"),
    "attention": Described(
        attention.raw_attention, "Raw attention", "last layer, mean of heads", by_text=False
    ),
    "rollout": Described(attention.rollout, "Rollout", "arXiv 2005.00928", by_text=False),
    "attention-gradcam": Described(
        gradient.attention_gradcam, "Attention GradCAM", "arXiv 2012.09838", backward=True
    ),
    "gradcam": Described(
        gradient.activation_gradcam, "Activation GradCAM", "arXiv 1610.02391", backward=True
    ),
    "partial-lrp": Described(lrp.partial_lrp, "Partial LRP", "arXiv 1905.09418", backward=True),
    "lrp": Described(lrp.lrp, "LRP", "arXiv 2012.09838", backward=True),
    "chefer": Described(lrp.chefer, "Chefer 2021", "arXiv 2012.09838", backward=True),
    "chefer-bimodal": Described(
        gradient.bimodal, "Chefer bi-modal", "arXiv 2103.15679", backward=True
    ),
    "surgery": Described(surgery.surgery, "CLIP Surgery", "arXiv 2304.05653"),
    "surgery-features": Described(
        surgery.feature_surgery, "CLIP Surgery, features", "arXiv 2304.05653"
    ),
    "maskclip": Described(last_block.maskclip, "MaskCLIP", "arXiv 2112.01071"),
    "sclip": Described(last_block.sclip, "SCLIP", "arXiv 2312.01597"),
    "clearclip": Described(last_block.clearclip, "ClearCLIP", "arXiv 2407.12442"),
    "naclip": Described(last_block.naclip, "NACLIP", "arXiv 2404.08181"),
    "gem": Described(surgery.gem, "GEM", "arXiv 2312.00878"),
    "legrad": Described(gradient.legrad, "LeGrad", "arXiv 2404.03214", backward=True),
    "grad-eclip": Described(gradient.grad_eclip, "Grad-ECLIP", "ICML 2024", backward=True),
}


TRAINED = "eclip"
"""The one method that needs weights besides the model's."""


def method_named(name: str, projections: Path | None = None) -> Described:
    """Return a method.

    Args:
        name: of `METHODS`, or eclip.
        projections: checkpoint of ECLIP's two projections.

    Raises:
        UnknownName: there is none of this name.
        UsageError: eclip without its projections, or they cannot be used.
    """
    if name == TRAINED:
        if projections is None:
            raise UsageError(
                "eclip needs two projections that were trained for the model; give their file "
                "with --eclip, or take rclip, the same paper's method without training"
            )
        return Described(eclip(load_projections(projections)), "ECLIP", "arXiv 2209.07046")
    if name not in METHODS:
        raise UnknownName.among("method", name, [*METHODS, TRAINED])
    return METHODS[name]


def methods_named(spec: str, projections: Path | None = None) -> dict[str, Described]:
    """Read `all`, or names separated by commas; eclip is among all where its projections are.

    Raises:
        UnknownName: there is no method of one of the names.
        UsageError: there is no name, or eclip without its projections.
    """
    names = [name.strip() for name in spec.split(",") if name.strip()]
    if spec.strip().lower() == "all":
        names = [*METHODS, TRAINED] if projections is not None else list(METHODS)
    if not names:
        raise UsageError(f"methods {spec!r}: expected all, or names separated by commas")
    return {name: method_named(name, projections) for name in names}
