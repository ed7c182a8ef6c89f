"""Commands as Python functions: what `import headatlas` offers, made from the same registry."""

import inspect
from collections.abc import Callable
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from jobs import console
from jobs.command import Command, commands, publish_and_say
from jobs.options import from_environment, missing
from schemas.errors import UsageError

PUBLISH = "publish"


def names() -> list[str]:
    """Return the functions' names."""
    return [_function_name(command) for command in commands()]


def function_named(name: str) -> Callable[..., Any] | None:
    """Return the function of a command; None where there is no such command."""
    for command in commands():
        if _function_name(command) == name:
            return function(command)
    return None


def function(command: Command) -> Callable[..., Any]:
    """Return a command as a function: options as keywords, its result returned.

    The options that the command line takes by position may be given by position. A command that
    publishes does so with `publish=True` alone.
    """
    name = _function_name(command)
    signature = _signature(command)

    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            given = dict(signature.bind_partial(*args, **kwargs).arguments)
        except TypeError as error:
            raise UsageError(
                f"{name}(): {error}; help(headatlas.{name}) lists the options"
            ) from None
        publish = bool(given.pop(PUBLISH, False)) if command.publishes else False
        flags = {flag: bool(given.pop(flag)) for flag in command.own_flags if flag in given}
        values = from_environment(command.model, {k: v for k, v in given.items() if v is not None})
        lacking = missing(command.model, values)
        if lacking is not None:
            raise UsageError(
                f"{name}(): {lacking} is missing: {command.model.model_fields[lacking].description}"
            )
        config = command.model.checked(values)
        with command.recorded(config, flags) as recording:
            done = command.run(config, **flags)
            if recording is not None:
                recording.took(done)
            warehouse = getattr(config, "warehouse", None)
            stored = command.publishes and command.stores(config) and not flags.get("dry_run")
            if stored and warehouse is not None:
                if publish:
                    publish_and_say(warehouse)
                else:
                    console.note(
                        f"{name}: stored, not published; with publish=True, or by "
                        "headatlas.publish, the database shows it"
                    )
        return done

    run.__name__ = run.__qualname__ = name
    run.__module__ = "headatlas"
    run.__doc__ = _docstring(command)
    run.__signature__ = signature  # type: ignore[attr-defined]
    return run


def _function_name(command: Command) -> str:
    return command.name.replace(" ", "_").replace("-", "_")


def _signature(command: Command) -> inspect.Signature:
    fields = command.model.options()
    places = command.arguments
    order = [*places, *(n for n in fields if n not in places)]
    parameters = [_parameter(n, fields[n], positional=n in places) for n in order]
    switches = [*command.own_flags, *([PUBLISH] if command.publishes else [])]
    parameters += [
        inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=bool)
        for n in switches
    ]
    returned = inspect.signature(command.run).return_annotation
    return inspect.Signature(parameters, return_annotation=returned)


def _parameter(name: str, field: FieldInfo, *, positional: bool) -> inspect.Parameter:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD if positional else inspect.Parameter.KEYWORD_ONLY
    default = None if field.default is PydanticUndefined else field.default
    return inspect.Parameter(name, kind, default=default, annotation=field.annotation)


def _docstring(command: Command) -> str:
    lines = [command.help, "", "Args:"]
    for name, field in command.model.options().items():
        required = " Required." if field.is_required() else ""
        lines.append(f"    {name}: {field.description}{required}")
    lines += [f"    {name}: {text}" for name, text in command.own_flags.items()]
    if command.publishes:
        lines.append("    publish: Publish the database when done.")
    said = inspect.getdoc(command.run) or ""
    for section in ("Returns:", "Raises:"):
        if section in said:
            lines += ["", section + said.partition(section)[2].split("\n\n")[0]]
    return "\n".join(lines)
