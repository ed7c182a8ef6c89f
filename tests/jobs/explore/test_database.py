"""The explorer's database: an answer of a version is asked once; what failed is asked again."""

import pytest

from jobs.explore import database
from jobs.explore.database import Database
from warehouse.files.layout import Warehouse


def test_an_answer_is_asked_once_a_version(bare: Warehouse) -> None:
    found = Database(bare)
    with found.cursor() as first:
        scans = first.ask("scans")
    with found.cursor() as second:
        assert second.ask("scans") is scans
    assert scans.rows[0]["scan_id"] == "scan"
    with Database(bare).cursor() as other:
        assert other.ask("scans") == scans
        assert other.ask("scans") is not scans


def test_what_failed_is_asked_again(bare: Warehouse) -> None:
    with Database(bare).cursor() as cursor:
        wrong = cursor.run("FROM no_such_table")
        assert wrong.complaint is not None
        assert cursor.run("FROM no_such_table") is not wrong


def test_few_rows_are_kept(bare: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "KEPT_ROWS", 20)
    with Database(bare).cursor() as cursor:
        first, second = cursor.run("FROM range(6)"), cursor.run("FROM range(7)")
        assert cursor.run("FROM range(6)") is first
        third = cursor.run("FROM range(8)")
        assert cursor.run("FROM range(6)") is first
        assert cursor.run("FROM range(8)") is third
        again = cursor.run("FROM range(7)")
        assert again is not second
        assert again == second
