"""How the tests are shared out to processes (`pytest -n 2`): by file, all that use Ray to one."""

from pathlib import Path
from typing import TYPE_CHECKING

from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    import pytest
    from xdist.remote import Producer

USES_RAY = "ray_session"


class ByFile(LoadScopeScheduling):
    """A process gets the next file when it is done with the last: it has the file's fixtures.

    The files that name the suite's one session of Ray count as one, and so do those of a folder
    whose own conftest.py has what they share.
    """

    def __init__(self, config: "pytest.Config", log: "Producer") -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)
        self._root = config.rootpath
        self._scopes: dict[str, str] = {}

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if file not in self._scopes:
            self._scopes[file] = self._scope(self._root / file)
        return self._scopes[file]

    def _scope(self, file: Path) -> str:
        if uses_ray(file):
            return USES_RAY
        return str(file.parent if (file.parent / "conftest.py").is_file() else file)


def uses_ray(file: Path) -> bool:
    """Whether a file of tests names the session of Ray."""
    return USES_RAY in file.read_text(encoding="utf-8")
