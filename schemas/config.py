"""Configurations: what a command's options and YAML files are checked against."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo

from schemas.errors import UnknownName, UsageError, near
from schemas.text import read_text

Precision = Literal["fp32", "bf16", "fp16"]
Metric = Literal["cosine", "dot"]
# Absolute, since a worker's folder is another.
AbsolutePath = Annotated[Path, AfterValidator(Path.absolute)]


class Config(BaseModel):
    """Base of all configurations: frozen, and unknown options are refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), coerce_numbers_to_str=True
    )

    @classmethod
    def options(cls) -> dict[str, FieldInfo]:
        """Return the options by name: a command's own before those that it shares with others."""
        own = [name for name in cls.__annotations__ if name in cls.model_fields]
        shared = [name for name in cls.model_fields if name not in own]
        return {name: cls.model_fields[name] for name in (*own, *shared)}

    @model_validator(mode="before")
    @classmethod
    def _spelled(cls, values: Any) -> Any:
        """Take one text where several may be given, a path as text, and `~` for the home folder."""
        if not isinstance(values, dict):
            return values
        found = dict(values)
        for name, field in cls.model_fields.items():
            value = found.get(name)
            if isinstance(value, str) and get_origin(field.annotation) is tuple:
                value = (value,)
            if isinstance(value, (list, tuple)):
                value = type(value)(map(_at_home, value))
            if Path in (field.annotation, *get_args(field.annotation)):
                value = _path(name, value)
            elif isinstance(value, Path):
                value = str(value)
            found |= {name: _at_home(value)} if value is not None else {}
        return found

    @classmethod
    def checked(cls, values: dict[str, Any]) -> Self:
        """Validate `values`.

        Raises:
            UsageError: with one line that names the first option that is wrong.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            # a name that is wrong first: another may be missing for it
            first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
            if first["type"] == "extra_forbidden":
                known = [name.replace("_", "-") for name in cls.model_fields]
                raise UnknownName.among("option", first["loc"][-1], known) from None
            where = ".".join(str(part) for part in first["loc"]) or "configuration"
            given = first.get("input")
            # all options together are no one's error, and one of them may hold a password
            got = "" if isinstance(given, dict) else f" (got {given!r})"
            choices = re.findall("'([^']+)'", first.get("ctx", {}).get("expected", ""))
            raise UsageError(f"{where}: {first['msg']}{got}{near(given, choices)}") from None


def _at_home(value: Any) -> Any:
    """Return a path or text that starts with `~/` with the home folder in its place."""
    if isinstance(value, (str, Path)) and (str(value) == "~" or str(value).startswith("~/")):
        return type(value)(Path(value).expanduser())
    return value


def _path(name: str, value: Any) -> Any:
    """Return a path with a user's home in the place of `~user`.

    Raises:
        UsageError: it would become a folder called `s3:` or `~user`, or is the folder one is in
            though nothing was said, as where a variable is empty.
    """
    _require_local(name, value)
    if value == "":
        raise UsageError(f"{name.replace('_', '-')} is empty; expected a path, as . or /mnt/atlas")
    if isinstance(value, (str, Path)) and str(value).startswith("~"):
        try:
            return type(value)(Path(value).expanduser())
        except RuntimeError:
            user = str(value).partition("/")[0]
            raise UsageError(
                f"{name.replace('_', '-')} {str(value)!r}: there is no user {user[1:]!r} here; "
                f"write ./{user} for a folder of that name"
            ) from None
    return value


def _require_local(name: str, value: Any) -> None:
    """Refuse a URL where a path is expected: it would become a folder called `s3:`.

    Raises:
        UsageError: it is one.
    """
    if isinstance(value, (str, Path)) and re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(value)):
        url = re.sub(r":/+", "://", str(value), count=1)
        kind, remedy = "path", "mount the bucket, or copy there afterwards"
        if name == "warehouse":
            kind = "folder that this machine and every worker see"
            remedy = f"mount the bucket, or work in a folder and then headatlas push {url}"
        if url.startswith("file://"):
            remedy = "write the path alone"
        raise UsageError(
            f"{name.replace('_', '-')} {url!r}: got a URL, expected a {kind}, as /mnt/atlas; "
            f"{remedy}"
        )


def split_names(value: object) -> object:
    """Split `a,b` into names, and a list of such texts into one list."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)):
        return value
    return tuple(name.strip() for text in texts for name in str(text).split(",") if name.strip())


Names = Annotated[tuple[str, ...], BeforeValidator(split_names)]


def split_numbers(value: object) -> object:
    """Split `1,2` into numbers, and a list of such texts into one list."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)):
        return value
    return tuple(n.strip() for text in texts for n in str(text).split(",") if n.strip())


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
    import yaml

    try:
        document = yaml.safe_load(read_text(path, "a YAML file of options"))
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise UsageError(
            f"{path}: expected options as `name: value`, got {type(document).__name__}"
        )
    return {str(k).replace("-", "_"): v for k, v in document.items()}
