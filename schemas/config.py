"""Configuration of each command: what the CLI's options and YAML files are checked against."""

from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from schemas.errors import UsageError

Precision = Literal["fp32", "bf16", "fp16"]
Metric = Literal["cosine", "dot"]


class Config(BaseModel):
    """Base of all configurations: frozen, and unknown options are refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), coerce_numbers_to_str=True
    )

    @classmethod
    def checked(cls, values: dict[str, Any]) -> Self:
        """Validate `values`.

        Raises:
            UsageError: with one line that names the first option that is wrong.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "configuration"
            raise UsageError(f"{where}: {first['msg']} (got {first.get('input')!r})") from None


class ScanConfig(Config):
    """Options of `headatlas scan`."""

    source: str = Field(description="Folder, CSV/JSONL/Parquet listing, tars, or image Parquet.")
    model: str = Field(description="open_clip model name, or path of a model config JSON.")
    pretrained: str = Field(default="none", description="open_clip tag, checkpoint file, or none.")
    warehouse: Path = Field(description="Folder of the warehouse; every worker must see it.")
    dataset: str | None = Field(default=None, description="Name of the data set.")
    scan: str | None = Field(default=None, description="Name of the scan.")
    layers: str = Field(default="all", description="all, last:N, A-B or A; 0-based.")
    labels: str | None = Field(default=None, description="`folder`, or the label column.")
    path_column: str | None = Field(default=None, description="Column that holds the path.")
    root: str | None = Field(default=None, description="Folder that listed paths start from.")
    shard_size: int = Field(default=4096, ge=1, description="Pictures per shard.")
    batch_size: int = Field(default=32, ge=1, description="Pictures per forward pass.")
    precision: Precision = Field(default="fp32", description="Arithmetic of the forward pass.")
    store: tuple[Literal["mlp"], ...] = Field(default=(), description="Also store: mlp.")
    ray_address: str | None = Field(default=None, description="Ray cluster; default: local.")
    workers: int | None = Field(
        default=None, ge=0, description="Workers, at most; 0: in this process, without Ray."
    )
    gpus_per_worker: float | None = Field(default=None, ge=0, description="Share of a GPU each.")
    max_rejects: str | None = Field(default=None, description="N, or P%: exit 3 above it.")
    restart: bool = Field(default=False, description="Forget what is stored; scan from nothing.")
    retry_rejects: bool = Field(default=False, description="Try rejected pictures again.")

    @field_validator("max_rejects")
    @classmethod
    def _limit(cls, value: str | None) -> str | None:
        if value is not None:
            reject_limit(value, 1)
        return value


class PublishConfig(Config):
    """Options of `headatlas publish`."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    materialize: tuple[str, ...] = Field(
        default=(),
        description="Heads also stored as native, centred unit vectors: L22H11, role:colour, all, "
        "or none. Default, those of the version before.",
    )
    keep: int | None = Field(
        default=None,
        ge=1,
        description="Published versions to keep. Default, as the last time it was given; first, 3.",
    )


class TextSpanConfig(Config):
    """Options of `headatlas textspan`."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    pool: str = Field(description="Description pool.")
    scan: str | None = Field(default=None, description="Scan; default, the newest.")
    m: int = Field(default=60, ge=1, description="Texts per head.")
    where: str | None = Field(
        default=None, description="Only pictures for which this SQL condition over images holds."
    )
    template: tuple[str, ...] = Field(
        default=(),
        description="Prompt of a text, as `a photo of {}`, openai, or a file with one per line; "
        "may be given again: their embeddings are averaged. Default, texts as they are.",
    )
    basis: str | None = Field(default=None, description="Name of the result; default, the pool's.")
    model: str | None = Field(default=None, description="Model, when its files have moved.")
    pretrained: str | None = Field(default=None, description="Weights, when they have moved.")
    renormalise: bool = Field(
        default=False, description="Make the texts' projections unit-norm first."
    )


class PoolListConfig(Config):
    """Options of `headatlas pool-list`."""

    warehouse: Path = Field(description="Folder of the warehouse.")


class PoolImportConfig(Config):
    """Options of `headatlas pool import`."""

    file: Path = Field(
        description="Text file with one description per line, CSV with text and property, or "
        "`general` for the pool that ships."
    )
    warehouse: Path = Field(description="Folder of the warehouse.")
    name: str | None = Field(default=None, description="Name of the pool; default, the file's.")
    property: str | None = Field(
        default=None, description="Property of all descriptions that have none of their own."
    )


class SqlConfig(Config):
    """Options of `headatlas sql`."""

    statement: str = Field(description="SQL to run.")
    warehouse: Path = Field(description="Folder of the warehouse.")
    output: Path | None = Field(
        default=None, description="Write the answer to this file: .parquet, .csv or .arrow."
    )


class NearestConfig(Config):
    """Options of `headatlas nearest`."""

    query: str | None = Field(
        default=None, description="Key of a stored picture, or a picture file."
    )
    warehouse: Path = Field(description="Folder of the warehouse.")
    scan: str | None = Field(default=None, description="Scan; default, the newest.")
    head: tuple[str, ...] = Field(default=(), description="Head, as L22H11; may be given again.")
    role: str | None = Field(default=None, description="All heads that carry this role.")
    text: str | None = Field(default=None, description="A text, instead of a picture.")
    k: int = Field(default=10, ge=1, description="Pictures to return.")
    where: str | None = Field(default=None, description="SQL condition over images.")
    metric: Metric = Field(default="cosine", description="cosine or dot.")
    centred: bool = Field(default=True, description="Take each head's mean off first.")
    png: Path | None = Field(default=None, description="Also draw a contact sheet.")
    html: Path | None = Field(default=None, description="Also write a page with thumbnails.")
    model: str | None = Field(default=None, description="Model, when its files have moved.")
    pretrained: str | None = Field(default=None, description="Weights, when they have moved.")


class EvaluateConfig(Config):
    """Options of `headatlas evaluate`."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    scan: str | None = Field(default=None, description="Scan; default, the newest.")
    attribute: tuple[str, ...] = Field(
        default=(), description="Metadata column, or label; default, all with few values."
    )
    k: int = Field(default=10, ge=1, description="Neighbours of precision@k.")
    queries: int = Field(default=500, ge=1, description="Pictures to ask with, drawn at random.")


class VerifyConfig(Config):
    """Options of `headatlas verify`."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    scan: str | None = Field(default=None, description="Only this scan; default, all.")
    quick: bool = Field(default=False, description="Leave out checksums and the vectors' values.")


class GcConfig(Config):
    """Options of `headatlas gc`."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    keep: int = Field(default=3, ge=1, description="Snapshots of each scan to keep.")


class CompactConfig(Config):
    """Options of `headatlas compact`."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    scan: str | None = Field(default=None, description="Only this scan; default, all.")
    shard_size: int = Field(default=4096, ge=1, description="Pictures per merged shard.")


class InfoConfig(Config):
    """Options of `headatlas info`."""

    warehouse: Path | None = Field(default=None, description="Folder of the warehouse.")


class RefreshConfig(Config):
    """Options of `headatlas refresh`."""

    plan: Path = Field(
        description="YAML file: warehouse, scan, textspan, roles, zeroshot, publish."
    )


class Night(Config):
    """The YAML file of a refresh; each part takes the options of its command."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    scan: dict[str, Any] = Field(description="Options of scan.")
    textspan: list[dict[str, Any]] = Field(default=[], description="Options of textspan, a list.")
    roles: list[dict[str, Any]] = Field(default=[], description="Options of roles build, a list.")
    zeroshot: list[dict[str, Any]] = Field(default=[], description="Options of zeroshot, a list.")
    publish: dict[str, Any] = Field(default={}, description="Options of publish.")


class DemoConfig(Config):
    """Options of `headatlas demo`."""

    warehouse: Path = Field(default=Path("headatlas-demo"), description="Folder to work in.")
    pictures: int = Field(default=3000, ge=100, description="Pictures to draw and scan.")


def reject_limit(spec: str, pictures: int) -> float:
    """Read `N` or `P%` as the number of rejects allowed among `pictures`.

    Raises:
        UsageError: the text is neither a count nor a percentage.
    """
    text = spec.strip()
    try:
        if text.endswith("%"):
            share = float(text[:-1])
            if not 0 <= share <= 100:
                raise ValueError
            return pictures * share / 100
        count = int(text)
        if count < 0:
            raise ValueError
    except ValueError:
        raise UsageError(
            f"max-rejects {spec!r}: expected a count or a percentage, as 10 or 1%"
        ) from None
    return count


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML configuration.

    Raises:
        UsageError: the file is absent, not YAML, or not a mapping.
    """
    try:
        document = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise UsageError(f"no configuration file {path}") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise UsageError(
            f"{path}: expected options as `name: value`, got {type(document).__name__}"
        )
    return {str(k).replace("-", "_"): v for k, v in document.items()}
