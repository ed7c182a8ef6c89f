"""Configuration of the commands about classes and ablation: zeroshot, ablate, spurious, export."""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from schemas.config import Config


def split_names(value: object) -> object:
    """Split `a,b` into names, and a list of such texts into one list."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)):
        return value
    return tuple(name.strip() for text in texts for name in str(text).split(",") if name.strip())


Names = Annotated[tuple[str, ...], BeforeValidator(split_names)]


class ZeroShotConfig(Config):
    """Options of `headatlas zeroshot`."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    classes: str = Field(
        description="File with a class per line, `name` or `label<TAB>name`; the same here, as "
        "`0=landbird,1=waterbird`; or `labels`: the labels that the pictures carry."
    )
    templates: str = Field(
        default="openai",
        description="openai: the 80 ImageNet templates; none: `a photo of a {}.`; or a file.",
    )
    classifier: str | None = Field(
        default=None, description="Name of the result; default, the file's or `labels`."
    )
    label_column: str = Field(
        default="label", description="Where a picture's label is: label, or a metadata column."
    )
    group_by: Names = Field(
        default=(), description="Also report accuracy by these columns, as label,place."
    )
    scan: str | None = Field(default=None, description="Scan; default, the newest.")
    model: str | None = Field(default=None, description="Model, when its files have moved.")
    pretrained: str | None = Field(default=None, description="Weights, when they have moved.")


class AblateConfig(Config):
    """Options of `headatlas ablate`."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    classifier: str = Field(description="Zero-shot classifier, made by headatlas zeroshot.")
    heads: Names = Field(default=(), description="Heads to ablate, as L22H12,L23H6.")
    role: str | None = Field(default=None, description="Ablate all heads that carry this role.")
    basis: str | None = Field(default=None, description="TextSpan basis of the roles; any.")
    sweep: bool = Field(
        default=False,
        description="The paper's ablations: all MLPs, attention layers 0 to l, all but the last n "
        "layers of heads; needs a scan with --layers all --store mlp.",
    )
    group_by: Names = Field(default=(), description="Columns, as label,place.")
    where: str | None = Field(
        default=None, description="Count only pictures with COLUMN=VALUE; means stay over all."
    )
    means: str | None = Field(
        default=None,
        description="Replace heads by their means over pictures with COLUMN=VALUE; default, all.",
    )
    control: int = Field(default=10, ge=0, description="Random sets of as many heads.")
    seed: int = Field(default=0, description="Seed of the random sets.")
    png: Path | None = Field(default=None, description="Plot of --sweep.")
    scan: str | None = Field(default=None, description="Scan; default, the newest.")


class SpuriousConfig(Config):
    """Options of `headatlas spurious`."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    classifier: str = Field(
        default="", description="Zero-shot classifier of the target; default, that of --classes."
    )
    classes: str | None = Field(
        default=None,
        description="Make that classifier first, of these classes; as zeroshot takes them.",
    )
    templates: str = Field(default="openai", description="For --classes; as in zeroshot.")
    attribute: str = Field(description="Column that ought not to matter, as place.")
    target: str | None = Field(
        default=None, description="Column of the true class; default, the classifier's."
    )
    select: str = Field(
        default="split=1", description="Pictures to choose heads on, as COLUMN=VALUE."
    )
    test: str = Field(default="split=2", description="Pictures to judge the choice on.")
    role: str | None = Field(
        default=None, description="Also judge the set of all heads that carry this role."
    )
    basis: str | None = Field(default=None, description="TextSpan basis of the role; any.")
    most: int = Field(default=8, ge=1, description="Most heads to choose.")
    candidates: int = Field(default=32, ge=1, description="Heads to choose among, by score.")
    tolerance: float = Field(
        default=0.01, ge=0, le=1, description="How much accuracy over all pictures may lose."
    )
    control: int = Field(default=10, ge=0, description="Random sets of as many heads.")
    seed: int = Field(default=0, description="Seed of the random sets.")
    name: str | None = Field(
        default=None, description="Name of the result; default, CLASSIFIER-ATTRIBUTE."
    )
    scan: str | None = Field(default=None, description="Scan; default, the newest.")


class ExportConfig(Config):
    """Options of `headatlas export`."""

    output: Path = Field(description="File to write, ending in .parquet.")
    warehouse: Path = Field(description="Folder of the warehouse.")
    heads: Names = Field(default=(), description="Heads to ablate, as L22H12,L23H6.")
    role: str | None = Field(default=None, description="Ablate all heads that carry this role.")
    basis: str | None = Field(default=None, description="TextSpan basis of the roles; any.")
    keep: bool = Field(
        default=False, description="Ablate all stored heads but these; the rest stays as it is."
    )
    unit: bool = Field(
        default=False,
        description="Make the ablated embeddings unit-norm again; default, they stay as they are, "
        "so that dot products with class weights are ablated logits.",
    )
    scan: str | None = Field(default=None, description="Scan; default, the newest.")
