"""Commands made from configuration models: one field, one option, one line of YAML.

A command's options are the fields of its Config; values come from the command line, else from the
file given with --config, else from the environment, else from the field's default.
"""

import inspect
import os
import typing
from collections.abc import Callable
from pathlib import Path
from types import NoneType
from typing import Annotated, Any

import typer
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from rich.markup import escape

from jobs.command import Command, groups
from schemas.config import Config, load_yaml
from schemas.errors import UsageError

ENVIRONMENT = {"warehouse": "HEADATLAS_WAREHOUSE"}
SHORT = {"output": "-o"}


def add_command(app: typer.Typer, known: Command) -> None:
    """Add a command to `app`, with an option for each field of its configuration."""
    model, arguments, flags = known.model, known.arguments, known.flags
    parameters = [_parameter(n, f, n in arguments) for n, f in model.options().items()]
    parameters += [_flag(n, text) for n, text in flags.items()]
    config = Annotated[Path | None, typer.Option("--config", help="YAML file of options.")]
    parameters.append(_keyword("config", config, None))

    def command(**given: Any) -> None:
        path = given.pop("config")
        switches = {n: bool(given.pop(n)) for n in flags}
        values = load_yaml(path) if path is not None else {}
        values |= {k: v for k, v in given.items() if v is not None and v != []}
        values = from_environment(model, values)
        _require(model, values, arguments)
        known.carry_out(model.checked(values), **switches)

    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        sorted(parameters, key=lambda p: p.name not in arguments)
    )
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    _add(app, known, command)


def add_stub(app: typer.Typer, known: Command) -> None:
    """Add a command's name and help alone: it is not the one that is asked for."""

    def command() -> None:
        raise AssertionError(known.name)

    _add(app, known, command)


def _add(app: typer.Typer, known: Command, command: Callable[..., None]) -> None:
    command.__doc__ = known.help
    group, _, last = known.name.rpartition(" ")
    (group_of(app, group) if group else app).command(last)(command)


def group_of(app: typer.Typer, name: str) -> typer.Typer:
    """Return the group of commands called `name`, made if it is not there."""
    for known in app.registered_groups:
        if known.name == name and known.typer_instance is not None:
            return known.typer_instance
    group = typer.Typer(no_args_is_help=True, help=groups()[name])
    app.add_typer(group, name=name)
    return group


def from_environment(model: type[Config], values: dict[str, Any]) -> dict[str, Any]:
    """Return the values, with those that are not given but stand in the environment."""
    found = {
        field: os.environ[variable]
        for field, variable in ENVIRONMENT.items()
        if field in model.model_fields and os.environ.get(variable)
    }
    return {**found, **values}


def missing(model: type[Config], values: dict[str, Any]) -> str | None:
    """Return the first option that must be given and is not."""
    fields = model.model_fields.items()
    return next((n for n, f in fields if f.is_required() and n not in values), None)


def _require(model: type[Config], values: dict[str, Any], arguments: tuple[str, ...]) -> None:
    name = missing(model, values)
    if name is None:
        return
    said = name.upper() if name in arguments else f"--{name.replace('_', '-')}"
    also = f" Give it, or set {ENVIRONMENT[name]}" if name in ENVIRONMENT else ""
    raise UsageError(f"{said} is missing: {model.model_fields[name].description}{also}")


def _parameter(name: str, field: FieldInfo, positional: bool) -> inspect.Parameter:
    kind = _cli_type(field.annotation)
    text = field.description or ""
    if positional:
        if typing.get_origin(kind) is not list:
            kind = kind | None
        text = f"{text} {escape('[required]')}" if field.is_required() else text
        return _keyword(name, Annotated[kind, typer.Argument(help=text, show_default=False)], None)
    text += _default(name, field)
    long = f"--{name.replace('_', '-')}"
    declared: Any = kind if typing.get_origin(kind) is list else kind | None
    if field.annotation is bool:
        # a switch that is on by default needs a way to be turned off
        spelled = [f"{long}/--no-{long[2:]}"] if field.default else [long]
    else:
        short = f"-{name}" if len(name) == 1 else SHORT.get(name)
        spelled = [short, long] if short else [long]
    option = typer.Option(*spelled, help=text, show_default=False)
    annotation = Annotated[declared, option]
    return _keyword(name, annotation, None)


def _default(name: str, field: FieldInfo) -> str:
    """Return what `-h` says of an option that is left out."""
    if field.is_required():
        variable = ENVIRONMENT.get(name)
        return " " + escape(f"[required, or {variable}]" if variable else "[required]")
    value = field.default
    if value in (None, PydanticUndefined, (), False):
        return ""
    if isinstance(value, tuple):
        value = ",".join(map(str, value))
        value = value if len(value) <= 60 else f"{value[:57]}..."
    return " " + escape(f"[default: {value}]")


def _flag(name: str, text: str) -> inspect.Parameter:
    option = typer.Option(f"--{name.replace('_', '-')}", help=text)
    return _keyword(name, Annotated[bool, option], False)


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def _cli_type(annotation: Any) -> Any:
    """Return the type that the command line reads; the model itself checks the value."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is tuple:
        return list[str]
    if origin is typing.Literal:
        return str
    if inner and NoneType in inner:
        (only,) = (t for t in inner if t is not NoneType)
        return _cli_type(only)
    return annotation if annotation in (str, int, float, bool, Path) else str
