"""`headatlas circuit`: the paths drawn are those of the table, and the drawing shows them all."""

import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from jobs.commands import circuit, edges, publish
from jobs.commands.circuit import CircuitConfig
from jobs.commands.edges import EdgesConfig
from jobs.commands.roles import set as by_hand
from jobs.commands.roles.set import RoleSetConfig
from schemas.errors import UnknownName, UsageError
from tests.jobs.test_effects_job import made
from warehouse.database.query import query
from warehouse.files.layout import Warehouse

__all__ = ["made"]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def measured(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("circuit") / "w"
    shutil.copytree(made, root)
    edges.run(EdgesConfig(warehouse=root, workers=0))
    for head in ("L1H0", "L2H1", "L2H2"):
        by_hand.run(RoleSetConfig(warehouse=root, head=head, role="a <glare> & more"))
    publish.run(publish.PublishConfig(warehouse=root))
    return root


def config(warehouse: Path, output: Path, **options: object) -> CircuitConfig:
    return CircuitConfig.checked({"warehouse": warehouse, "output": output, **options})


def test_the_drawing_shows_the_strongest_paths(measured: Path, tmp_path: Path) -> None:
    done = circuit.run(config(measured, tmp_path / "c.svg", head="L2H1", edges=8))
    assert done.targets == ("L2H1",) and len(done.paths) == 8
    direct = [row for row in done.paths if row.target == "L2H1"]
    asked = "SELECT name, share FROM head_feeders('L2H1', k := 30) WHERE component <> 'const'"
    shares = {r["name"]: r["share"] for r in query(Warehouse(measured), asked).to_pylist()}
    order = sorted(shares, key=lambda name: -abs(shares[name]))
    assert [row.source for row in direct] == order[: len(direct)]
    assert [row.share for row in direct] == pytest.approx([shares[n] for n in order[: len(direct)]])
    heads = [row for row in direct if row.source.startswith("L")]
    assert done.carried == pytest.approx(sum(row.share for row in heads))
    root = ET.parse(tmp_path / "c.svg").getroot()
    assert len(root.findall(f"{SVG}path")) == 8
    named = [title.text or "" for title in root.iter(f"{SVG}title")]
    for row in done.paths:
        assert any(t.startswith(f"{row.source} to {row.target}: {row.share:.1%}") for t in named)
    boxes = [t for t in named if ":" not in t or "glare" in t]
    parts = {row.source for row in done.paths} | {row.target for row in done.paths}
    assert {t.split(":")[0] for t in boxes if not t.startswith("Strongest")} == parts
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    rects = list(root.iter(f"{SVG}rect"))[1:]
    spots = [tuple(float(r.get(k, 0)) for k in ("x", "y", "width", "height")) for r in rects]
    assert all(0 <= x and x + w <= width and 0 <= y and y + h <= height for x, y, w, h in spots)
    assert len({(x, y) for x, y, _, _ in spots}) == len(parts)


def test_a_role_is_all_of_its_heads_and_its_name_is_only_text(
    measured: Path, tmp_path: Path
) -> None:
    role = "a <glare> & more"
    done = circuit.run(config(measured, tmp_path / "c.svg", head=role, control=4))
    assert done.targets == ("L1H0", "L2H1", "L2H2")
    assert {row.target for row in done.paths} <= {f"L{n}H{h}" for n in range(3) for h in range(3)}
    titles = [t.text for t in ET.parse(tmp_path / "c.svg").getroot().iter(f"{SVG}title")]
    assert f"L2H1: {role}" in titles


def test_refusals(measured: Path, made: Path, tmp_path: Path) -> None:
    path = tmp_path / "c.svg"
    with pytest.raises(UnknownName, match="nope"):
        circuit.run(config(measured, path, head="nope"))
    with pytest.raises(UsageError, match=r"no head L7H0 in the edges .* layers 0 to 2, heads 0"):
        circuit.run(config(measured, path, head="L7H0"))
    with pytest.raises(UsageError, match="run headatlas edges --scan s first"):
        circuit.run(config(made, path, head="L2H1"))
    assert not path.exists()
