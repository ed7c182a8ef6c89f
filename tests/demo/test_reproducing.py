"""Every command of docs/reproducing.md runs, in its order, and prints the tables that it shows."""

import re
from pathlib import Path

import pytest

from docs import reproduce
from docs.reproduce import PAGE, cells, steps

# counts of pictures and scores change with the machine's rounding, by a picture or so
NEAR = 0.03
TEXT = PAGE.read_text(encoding="utf-8")


def number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def close(shown: str, printed: str) -> bool:
    a, b = number(shown), number(printed)
    if a is None or b is None:
        return shown == printed
    return abs(a - b) <= NEAR * max(1.0, abs(a))


def test_blocks_and_their_answers_are_found() -> None:
    found = steps("words\n\n    headatlas a b\n    headatlas c\n\n<!-- answer -->\n| x |\n"
                  "|---|\n| 1 |\n<!-- end -->\n\nmore\n\n    headatlas d\n\nend\n")  # fmt: skip
    assert [step.commands for step in found] == [("headatlas a b", "headatlas c"), ("headatlas d",)]
    assert cells(found[0].answer or "") == [["x"], ["1"]] and found[1].answer is None
    assert reproduce.table("a\tb\n1\t\n") == "| a | b |\n| --- | --- |\n| 1 |  |\n"


def test_the_page_has_a_command_for_each_table_and_figure() -> None:
    titles = re.findall(r"^## (.*)$", TEXT, re.MULTILINE)
    said = " ".join(titles).lower()
    wanted = (
        "table 1, figure 2, + cls, joint ablation of mlps, table 2, figure 3, figures 4 and 5, "
        "table 3, table 4, figures 6 and 7"
    )
    surgery = "redundant features, semantic segmentation, multi-label, points, figure 8"
    for what in f"{wanted}, {surgery}".split(", "):
        assert what in said, what
    for title in titles[1:]:
        part = TEXT.partition(f"## {title}\n")[2].partition("\n## ")[0]
        assert steps(part), f"{title}: no command"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_command_runs_and_prints_what_the_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reproduce.prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADATLAS_WAREHOUSE", "")  # the page sets it; put back afterwards
    for step, printed in reproduce.answers(TEXT):
        if step.answer is not None:
            shown, found = cells(step.answer), cells(printed)
            assert len(shown) > 1, step.commands[-1]
            assert sorted(row[0] for row in shown) == sorted(row[0] for row in found)
            assert shown[0] == found[0]
            if [row[0] for row in shown] == [row[0] for row in found]:
                wrong = [
                    (s, f) for s, f in zip(shown, found, strict=True) if not all(map(close, s, f))
                ]
                assert not wrong, step.commands[-1]
    for name in re.findall(r"[\w-]+\.png", " ".join(c for s in steps(TEXT) for c in s.commands)):
        if "/" not in name and (tmp_path / name).suffix == ".png" and name != "000001.png":
            assert (tmp_path / name).stat().st_size > 1000, name
