"""Configuration of the commands about pools by a language model, and about roles."""

from pathlib import Path
from typing import Annotated, Final

from pydantic import BeforeValidator, Field

from schemas.config import Config
from schemas.config_classes import Names

PROPERTIES: Final = (
    "animal,person,food,plant,clothing,vehicle,building,household object,tool,colour,texture,"
    "material,pattern,shape,count,size,layout,background,indoor place,outdoor place,country,"
    "landscape,weather,season,time of day,lighting,emotion,pose,action,occupation,sport,"
    "text in the picture,symbol,art style,photographic style,camera angle,image quality,era"
)


class LanguageModelConfig(Config):
    """Options of every command that asks a language model."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    llm: str = Field(description="Name of the language model on the server.")
    base_url: str | None = Field(
        default=None, description="Server that speaks chat completions, ending in /v1."
    )
    key_variable: str = Field(
        default="OPENAI_API_KEY", description="Environment variable that holds the key."
    )
    concurrency: int = Field(default=8, ge=1, le=256, description="Questions in flight.")
    temperature: float | None = Field(default=None, ge=0, description="Default, the server's.")
    price_in: float | None = Field(
        default=None, ge=0, description="Price of a million tokens asked, for estimates."
    )
    price_out: float | None = Field(
        default=None, ge=0, description="Price of a million tokens answered."
    )


class PoolBuildConfig(LanguageModelConfig):
    """Options of `headatlas pool build`."""

    name: str = Field(description="Name of the pool.")
    properties: Names = Field(
        default=tuple(PROPERTIES.split(",")), description="Properties, as colour,texture."
    )
    per_property: int = Field(
        default=200, ge=0, description="Descriptions per property; 0: none by property."
    )
    classes: Path | None = Field(
        default=None, description="File with a class per line: also what its pictures may show."
    )
    per_class: int = Field(default=20, ge=1, description="Descriptions per class.")
    from_labels: str | None = Field(
        default=None,
        description="Also from the pictures' own words: label, or a metadata column as caption.",
    )
    per_labels: int = Field(default=40, ge=1, description="Descriptions per 40 labels or captions.")
    most_labels: int = Field(default=2000, ge=1, description="Labels or captions shown at most.")
    scan: str | None = Field(
        default=None, description="Scan for --from-labels, and whose model finds near-duplicates."
    )
    near: float = Field(
        default=0.97, gt=0, le=1, description="Cosine of two texts that count as one; 1: none."
    )


class PoolWordsConfig(Config):
    """Options of `headatlas pool words`."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    name: str = Field(default="words", description="Name of the pool.")
    count: int = Field(default=3500, ge=1, description="Words.")


class PoolRandomConfig(Config):
    """Options of `headatlas pool random`."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    name: str = Field(default="random", description="Name of the pool.")
    count: int = Field(default=3500, ge=1, description="Directions.")
    seed: int = Field(default=0, description="Of the directions.")
    scan: str | None = Field(default=None, description="Scan whose joint space they lie in.")


def split_numbers(value: object) -> object:
    """Split `1,2` into numbers, and a list of such texts into one list."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)):
        return value
    return tuple(n.strip() for text in texts for n in str(text).split(",") if n.strip())


class PoolCompareConfig(Config):
    """Options of `headatlas pool compare`."""

    pools: tuple[str, ...] = Field(description="Description pools.")
    warehouse: Path = Field(description="Folder of the warehouse.")
    out: Path = Field(description="Picture to draw: .png, .svg or .pdf.")
    scan: str | None = Field(default=None, description="Scan; default, the newest.")
    m: Annotated[tuple[int, ...], BeforeValidator(split_numbers)] = Field(
        default=(5, 10, 20, 30, 60), description="Texts per head, as 10,20,60."
    )
    label_column: str = Field(
        default="label", description="Where a picture's class is: label, or a metadata column."
    )
    template: str = Field(default="a photo of a {}.", description="Prompt of a class.")
    model: str | None = Field(default=None, description="Model, when its files have moved.")
    pretrained: str | None = Field(default=None, description="Weights, when they have moved.")


class RolesConfig(Config):
    """Options of `headatlas roles build`."""

    warehouse: Path = Field(description="Folder of the warehouse.")
    basis: str | None = Field(default=None, description="TextSpan basis; default, the only one.")
    scan: str | None = Field(default=None, description="Scan; default, the newest.")
    level: float = Field(default=0.05, gt=0, lt=1, description="False discovery rate of roles.")
    permutations: int = Field(default=10_000, ge=100, description="Of the texts' properties.")
    turns: int = Field(
        default=128, ge=0, description="Random rotations of each head; 0: labels alone are tested."
    )
    attributes: bool = Field(
        default=True, description="Also what labels and metadata explain of each head."
    )
    bootstrap: int = Field(
        default=0, ge=0, description="Samples of the pictures that say how stable roles are."
    )
    llm: str | None = Field(
        default=None, description="Also ask this language model for each head's role."
    )
    texts: int = Field(default=20, ge=1, description="Texts of a head that it is shown.")
    base_url: str | None = Field(
        default=None, description="Server that speaks chat completions, ending in /v1."
    )
    key_variable: str = Field(
        default="OPENAI_API_KEY", description="Environment variable that holds the key."
    )
    concurrency: int = Field(default=8, ge=1, le=256, description="Questions in flight.")
    model: str | None = Field(default=None, description="Model, when its files have moved.")
    pretrained: str | None = Field(default=None, description="Weights, when they have moved.")


class RoleSetConfig(Config):
    """Options of `headatlas roles set`."""

    head: str = Field(description="The head, as L22H11.")
    role: str | None = Field(default=None, description="Its role, as colour.")
    warehouse: Path = Field(description="Folder of the warehouse.")
    scan: str | None = Field(default=None, description="Scan; default, the newest.")
    note: str | None = Field(default=None, description="Why, in one line.")
    remove: bool = Field(default=False, description="Take back the role set by hand.")
