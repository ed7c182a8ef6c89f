"""`publish --materialize`: what one version stores, the next ones store too."""

import shutil
from pathlib import Path

import pytest

from jobs.command import publish_and_say
from jobs.commands import publish
from jobs.commands.publish import PublishConfig
from jobs.commands.roles import build as roles
from jobs.commands.roles.build import RolesConfig
from jobs.commands.roles.set import RoleSetConfig
from jobs.commands.roles.set import run as run_set
from schemas.errors import UnknownName
from warehouse.database.publish import Published
from warehouse.database.query import query
from warehouse.files.layout import Warehouse


@pytest.fixture
def root(published: Path, tmp_path: Path) -> Path:
    shutil.copytree(published, tmp_path / "w", symlinks=True)
    return tmp_path / "w"


def run(root: Path, *materialize: str) -> Published:
    return publish.run(PublishConfig(warehouse=root, materialize=materialize))


def labels(root: Path) -> list[str]:
    """Return the stored heads, as `SCAN/L2H1`."""
    rows = query(Warehouse(root), "SELECT scan_id || '/' || name AS label FROM heads ORDER BY ALL")
    return [str(label) for label in rows["label"].to_pylist()]


def head(label: str) -> str:
    return label.partition("/")[2]


def test_a_version_has_the_heads_of_the_one_before_until_others_are_asked_for(root: Path) -> None:
    first, second, third, *_ = labels(root)
    assert run(root, head(first), head(third)).materialised == (first, third)
    assert run(root).materialised == (first, third)
    stored = query(Warehouse(root), "SELECT DISTINCT layer, head FROM unit_vectors")
    assert stored.num_rows == 2
    assert run(root, head(second)).materialised == (second,)
    assert run(root, "none").materialised == ()
    assert run(root).materialised == ()


def test_a_role_that_is_gone_is_told_and_stops_nothing(
    root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UnknownName, match="no role 'glow'"):
        run(root, "role:glow")
    first, second, *_ = labels(root)
    roles.run(RolesConfig(warehouse=root, basis="small", turns=0, permutations=100))
    run_set(RoleSetConfig(warehouse=root, head=head(second), role="glow"))
    assert run(root, head(first), "role:glow").materialised == (first, second)
    run_set(RoleSetConfig(warehouse=root, head=head(second), remove=True))
    publish_and_say(root)
    assert "role:glow was materialised and is not there any more" in capfd.readouterr().err
    again = run(root)
    assert (again.materialised, again.gone) == ((first,), ("role:glow",))
