"""What a command of `headatlas` is, and where they are found: one module each in `jobs.commands`.

A command's module says:

- its docstring: what the command does; the first line is its line in `headatlas -h`;
- `run(config, ...)`: does it, and returns what was done. The annotation of `config` is the model of
  its options; further keyword parameters are switches that are no part of the configuration;
- `say(config, done)`: prints what was done;
- `ARGUMENTS`: options that are given by position, if any;
- `FLAGS`: the meaning of each switch of `run`, if any;
- `PUBLISHES = True` where what it stores is published when it is done;
- `stores(config)`: whether with these options it stores anything, where it does not always;
- `WRITES = True` where it writes into a warehouse and publishes nothing by itself. Both leave a
  record in the warehouse's `runs/`;
- `BEGINS = True` where it may begin a warehouse; all others want one that is there;
- `warehouse_of(config)`: the warehouse's folder, where that is no option called `warehouse`.

Its name is its file's, with dashes; a package is a group of commands. Modules are imported when
their command is asked for: asking the database should not wait for torch and Ray.
"""

import ast
import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from schemas.config import Config
from schemas.errors import HeadAtlasError, UsageError, near_path

if TYPE_CHECKING:
    from jobs.recording import Recording

PACKAGE = "jobs.commands"
NO_PUBLISH = {"no_publish": "Do not publish when done."}


@dataclass(frozen=True)
class Command:
    """A command, known by its file; the module is imported when it is needed.

    Attributes:
        name: as on the command line, with its group: `pool import`.
        module_name: of its module.
        path: of its file.
    """

    name: str
    module_name: str
    path: Path

    @cached_property
    def help(self) -> str:
        """What the command does: the docstring of its module, read without importing it."""
        return _docstring(self.path)

    @cached_property
    def module(self) -> ModuleType:
        """Its module, imported."""
        return importlib.import_module(self.module_name)

    @property
    def run(self) -> Callable[..., Any]:
        """What it runs."""
        found: Callable[..., Any] = self.module.run
        return found

    @property
    def model(self) -> type[Config]:
        """The model of its options."""
        found: type[Config] = next(iter(inspect.signature(self.run).parameters.values())).annotation
        return found

    @property
    def arguments(self) -> tuple[str, ...]:
        """Options that are given by position."""
        return tuple(getattr(self.module, "ARGUMENTS", ()))

    @property
    def publishes(self) -> bool:
        """Whether what it stores is published when it is done."""
        return bool(getattr(self.module, "PUBLISHES", False))

    @property
    def writes(self) -> bool:
        """Whether it writes into a warehouse, and so leaves a record there."""
        return self.publishes or bool(getattr(self.module, "WRITES", False))

    def warehouse(self, config: Config) -> Path | None:
        """Return the folder of the warehouse that it works in, if it works in one."""
        found = getattr(self.module, "warehouse_of", lambda one: getattr(one, "warehouse", None))
        root: Path | None = found(config)
        return root

    def require_warehouse(self, config: Config) -> None:
        """Check that the warehouse is there, unless this may begin one: a slip is no empty answer.

        Raises:
            UsageError: it is not.
        """
        root = self.warehouse(config)
        if root is None or getattr(self.module, "BEGINS", False):
            return
        from warehouse.files.layout import Warehouse

        if Warehouse(root).exists:
            return
        what = "holds no warehouse" if root.is_dir() else f"is not there{near_path(root)}"
        raise UsageError(
            f"warehouse {root} {what}; expected the folder that headatlas scan was given"
        )

    def stores(self, config: Config) -> bool:
        """Whether with these options it stores what is recorded and published."""
        found: Callable[[Config], bool] = getattr(self.module, "stores", lambda one: True)
        return self.writes and found(config)

    @property
    def flags(self) -> Mapping[str, str]:
        """Switches that are no part of the configuration, with their meaning."""
        return {**self.own_flags, **(NO_PUBLISH if self.publishes else {})}

    @property
    def own_flags(self) -> Mapping[str, str]:
        """Of these, the switches of `run` itself."""
        found: Mapping[str, str] = getattr(self.module, "FLAGS", {})
        return found

    @contextmanager
    def recorded(self, config: Config, flags: Mapping[str, bool]) -> "Iterator[Recording | None]":
        """Record what is done within as a run of it, where it writes; give the recording.

        Raises:
            UsageError: there is no such warehouse.
        """
        self.require_warehouse(config)
        stores = self.stores(config) and not flags.get("dry_run", False)
        root = self.warehouse(config) if stores else None
        if root is None:
            yield None
            return
        from jobs.recording import recorded

        with recorded(self.name, root, config.model_dump(mode="json")) as recording:
            yield recording

    def carry_out(self, config: Config, **flags: bool) -> None:
        """Run it, say what was done, and publish it; as the command line does.

        Raises:
            HeadAtlasError: as `run`; where it says what was done all the same, after that is said
                and published.
        """
        publish = self.publishes and not flags.pop("no_publish", False) and self.stores(config)
        late: HeadAtlasError | None = None
        with self.recorded(config, flags) as recording:
            try:
                done = self.run(config, **flags)
            except HeadAtlasError as error:
                if error.done is None:
                    raise
                done, late = error.done, error
            if recording is not None:
                recording.took(done, late)
            self.module.say(config, done)
            warehouse = getattr(config, "warehouse", None)
            if publish and warehouse is not None and not flags.get("dry_run", False):
                publish_and_say(warehouse)
            if late is not None:
                raise late


def publish_and_say(warehouse: Path) -> None:
    """Publish a warehouse, and say which version it is and what in it is stale."""
    from jobs.commands import publish

    config = publish.PublishConfig(warehouse=warehouse)
    publish.say(config, publish.run(config))


def commands() -> tuple[Command, ...]:
    """Return every command, in the order of their names; nothing is imported."""
    found = importlib.util.find_spec(PACKAGE)
    assert found is not None and found.submodule_search_locations is not None
    return tuple(_within(Path(next(iter(found.submodule_search_locations))), PACKAGE, ""))


@cache
def _names() -> frozenset[str]:
    return frozenset(command.name for command in commands())


def names_command(line: str) -> bool:
    """Return whether a line as `headatlas roles build --basis B` names a command that exists."""
    program, *words = line.split()
    return program == "headatlas" and any(" ".join(words[:n]) in _names() for n in (1, 2))


def groups() -> dict[str, str]:
    """Return the help of each group of commands, by its name."""
    found = {c.name.partition(" ")[0]: c.path for c in commands() if " " in c.name}
    return {name: _docstring(path.parent / "__init__.py") for name, path in found.items()}


def _within(folder: Path, package: str, group: str) -> list[Command]:
    found: list[Command] = []
    for module in pkgutil.iter_modules([str(folder)]):
        name = f"{group}{module.name.rstrip('_').replace('_', '-')}"
        inner = f"{package}.{module.name}"
        if module.ispkg:
            found += _within(folder / module.name, inner, f"{name} ")
        else:
            found.append(Command(name, inner, folder / f"{module.name}.py"))
    return sorted(found, key=lambda command: command.name)


def _docstring(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if text.startswith('"""'):  # no need to parse the rest: a help reads all commands' files
        text = text[: text.index('"""', 3) + 3]
    return ast.get_docstring(ast.parse(text)) or ""
