"""CelebA and CounterAnimal, written as they are published: groups come from their own files."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.sources import list_members
from pipeline.sources.reader import Reader
from schemas.errors import SourceError, UsageError
from schemas.members import Member

ATTRIBUTES = ("5_o_Clock_Shadow", "Blond_Hair", "Male", "Young")


def picture(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)


def listed(source: Path, **options: str | None) -> tuple[Member, ...]:
    values = {"labels": None, "path_column": None, "root": None, **options}
    return list_members(str(source), **values).members


@pytest.fixture
def celeba(tmp_path: Path) -> Path:
    """Anno/, Eval/ and Img/ as in the download, with their odd spacing."""
    rows = {
        "000001.jpg": (-1, 1, -1, 1),
        "000002.jpg": (-1, -1, 1, 1),
        "000003.jpg": (1, -1, 1, -1),
    }
    text = f"{len(rows)}\n{' '.join(ATTRIBUTES)} \n"
    for name, values in rows.items():
        text += name + "".join(f" {value:2d}" for value in values) + "\n"
        picture(tmp_path / "Img/img_align_celeba" / name)
    for folder in ("Anno", "Eval"):
        (tmp_path / folder).mkdir()
    (tmp_path / "Anno/list_attr_celeba.txt").write_text(text)
    splits = "".join(f"{name} {split}\n" for split, name in enumerate(rows))
    (tmp_path / "Eval/list_eval_partition.txt").write_text(splits)
    return tmp_path


def test_celeba_has_its_attributes_and_split(celeba: Path) -> None:
    found = listed(
        celeba / "Anno/list_attr_celeba.txt", labels="Blond_Hair", root=str(celeba / "Img")
    )
    assert [m.key for m in found] == [f"img_align_celeba/00000{i}.jpg" for i in (1, 2, 3)]
    assert [m.label for m in found] == ["1", "0", "0"]
    said = [json.loads(m.metadata) for m in found]
    assert [one["Male"] for one in said] == [0, 1, 1] and [one["split"] for one in said] == [
        0,
        1,
        2,
    ]
    assert set(said[0]) == {*ATTRIBUTES, "split"} - {"Blond_Hair"}
    with Reader() as reader:
        assert all(reader.read(member)[:2] == b"\xff\xd8" for member in found)
    # a list whose pictures lie beside it needs no root
    (celeba / "Img/img_align_celeba").rename(celeba / "Anno/img_align_celeba")
    assert all(
        Path(m.uri.removeprefix("file://")).is_file()
        for m in listed(celeba / "Anno/list_attr_celeba.txt")
    )


def test_what_is_wrong_with_celeba_s_lists_is_said(celeba: Path) -> None:
    path = celeba / "Anno/list_attr_celeba.txt"
    path.write_text(path.read_text() + "000004.jpg  1  1\n")
    (bad,) = [m for m in listed(path) if "img_align" not in m.key]
    assert "expected 4 times 1 or -1" in bad.fingerprint
    (celeba / "Eval/list_eval_partition.txt").unlink()
    with pytest.raises(SourceError, match=r"no list_eval_partition\.txt beside"):
        listed(path)
    path.write_text("image_id,Male\n000001.jpg,1\n")
    with pytest.raises(SourceError, match="the number of pictures in the first line"):
        listed(path)


def test_counteranimal_has_its_groups_and_grounds(tmp_path: Path) -> None:
    names = (
        "9 ostrich/common-grass/a.jpg",
        "9 ostrich/counter-water/b.jpg",
        "102 echidna/common-grass ground/c.jpg",
    )
    for seed, name in enumerate(names):
        picture(tmp_path / "LAION-final" / name, seed)
    found = {m.key: m for m in listed(tmp_path / "LAION-final", labels="folder")}
    assert set(found) == set(names)
    assert [found[name].label for name in names] == ["ostrich", "ostrich", "echidna"]
    assert [json.loads(found[name].metadata) for name in names] == [
        {"class_index": 9, "group": "common", "ground": "grass"},
        {"class_index": 9, "group": "counter", "ground": "water"},
        {"class_index": 102, "group": "common", "ground": "grass ground"},
    ]
    assert {m.label for m in listed(tmp_path)} == {None}
    with pytest.raises(UsageError, match="--labels folder: group and ground are metadata"):
        listed(tmp_path, labels="group")
    # one picture that lies elsewhere: a folder of pictures like any other
    picture(tmp_path / "LAION-final/cover.jpg")
    assert all(m.metadata == "{}" for m in listed(tmp_path))
