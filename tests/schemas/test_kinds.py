"""Kinds of result: each file of schemas/results declares one, and all it declares can be filled."""

import pkgutil

import pytest

from schemas import results
from schemas.errors import UnknownName
from schemas.kinds import Kind
from schemas.results import KINDS, kind_named
from warehouse.database.loading import load_sql


def test_every_file_declares_one_kind_under_its_own_name() -> None:
    files = [module.name for module in pkgutil.iter_modules(results.__path__)]
    assert len(files) == len(KINDS) > 10
    assert all(kind.name == name for name, kind in KINDS.items())
    with pytest.raises(UnknownName, match="textspan"):
        kind_named("textspans")


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_every_table_of_a_kind_can_be_filled(kind: Kind) -> None:
    for table in kind.tables:
        if table.kind == "table":
            said = load_sql(kind, table)
            assert all(f'"{column.name}"' in said for column in table.columns)
    assert not set(kind.stands_on) & set(kind.may_stand_on)
