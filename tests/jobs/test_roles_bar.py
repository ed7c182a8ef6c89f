"""Roles against the truth: the shipped model's heads, on pictures whose attributes are known."""

from collections import defaultdict
from pathlib import Path

import pytest

from demo.world import SEED
from jobs.commands import scan, textspan
from jobs.commands.demo import MODEL, POOL, WEIGHTS, draw, write_world_pool
from jobs.commands.roles import build as roles
from jobs.commands.roles.build import RolesConfig
from jobs.commands.scan import ScanConfig
from jobs.commands.textspan import TextSpanConfig
from schemas.names import NO_WEIGHTS
from warehouse.files.layout import Warehouse
from warehouse.results.files import read_result

# The properties of the pool's texts that name an attribute of the pictures, where not its own name.
NAMES = {"label": {"object", "shape"}}
PICTURES = 800

Head = tuple[int, int]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return pictures that no model was trained or measured on."""
    return draw(tmp_path_factory.mktemp("fresh") / "p", PICTURES, SEED + 1)


def named(pictures: Path, weights: str, root: Path) -> tuple[dict[Head, str | None], Path]:
    """Scan, find texts and roles as a person would; return each head's role by enrichment."""
    done = scan.run(
        ScanConfig(
            source=str(pictures),
            path_column="img_filename",
            labels="kind",
            model=str(MODEL),
            pretrained=weights,
            warehouse=root,
            scan="s",
            batch_size=64,
            workers=0,
        )
    )
    assert done.images == PICTURES
    write_world_pool(Warehouse(root))
    textspan.run(TextSpanConfig(warehouse=root, pool=POOL, m=20))
    found = roles.run(RolesConfig(warehouse=root, basis=POOL))
    rows = read_result(found.path)[0].to_pylist()
    assert {row["method"] for row in rows} == {"enrichment"}
    return {(row["layer"], row["head"]): row["role"] for row in rows}, root / "scans" / "s"


def best_attributes(folder: Path) -> dict[Head, tuple[str, float]]:
    """Return the attribute that explains most of each head, and its R²."""
    r2: dict[Head, dict[str, float]] = defaultdict(dict)
    for row in read_result(folder / "attributes" / "attributes.parquet")[0].to_pylist():
        r2[row["layer"], row["head"]][row["attribute"]] = row["r2"]
    found = {}
    for head, values in r2.items():
        # a kind has one category, so its R² is never the smaller: it counts where it adds to it
        if values["category"] >= 0.95 * values["label"]:
            del values["label"]
        found[head] = max(values.items(), key=lambda item: item[1])
    return found


def test_heads_that_one_attribute_explains_have_the_role_that_names_it(
    pictures: Path, tmp_path: Path
) -> None:
    role, folder = named(pictures, str(WEIGHTS), tmp_path)
    clear = {head: name for head, (name, r2) in best_attributes(folder).items() if r2 >= 0.5}
    assert len(clear) >= 8
    assert len(set(clear.values())) >= 4
    right = [head for head, name in clear.items() if role[head] in NAMES.get(name, {name})]
    wrong = {head: (clear[head], role[head]) for head in clear if head not in right}
    assert len(right) >= 0.8 * len(clear), wrong


def test_heads_of_a_random_model_have_no_roles(pictures: Path, tmp_path: Path) -> None:
    role, _ = named(pictures, NO_WEIGHTS, tmp_path)
    given = {head: name for head, name in role.items() if name is not None}
    assert len(role) == 36
    assert len(given) <= 0.05 * len(role), given
