"""Sources of each format, written for tests."""

import io
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.sources import list_members
from pipeline.sources.reader import Reader
from tests.hostile import encoded, scene

PICTURES = {f"{c}/{i}.jpg": encoded(scene(seed=i), "JPEG") for i in range(3) for c in "ab"}


def write_folder(root: Path, files: dict[str, bytes] = PICTURES) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def write_tar(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def read_all(source: str | Path, **options: str) -> dict[str, bytes]:
    with Reader() as reader:
        return {m.key: reader.read(m) for m in list_members(str(source), **options).members}


def listing_rows() -> list[dict[str, object]]:
    return [
        {"path": key, "place": f"p{i}", "n": i, "share": i / 4, "ok": i % 2 == 0, "zip": f"00{i}"}
        for i, key in enumerate(sorted(PICTURES))
    ]


def write_listing(path: Path, rows: list[dict[str, object]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        sep = "\t" if path.suffix == ".tsv" else ","
        lines = [sep.join(rows[0])] + [sep.join(str(v) for v in row.values()) for row in rows]
        path.write_bytes(b"\xef\xbb\xbf" + ("\r\n".join(lines) + "\r\n").encode())
    return path


def samples(first: int, count: int) -> dict[str, bytes]:
    files = {}
    for i in range(first, first + count):
        files[f"c{i % 2}/{i:04d}.jpg"] = encoded(scene(seed=i), "JPEG")
        files[f"c{i % 2}/{i:04d}.json"] = json.dumps({"n": i, "place": f"p{i}"}).encode()
        files[f"c{i % 2}/{i:04d}.cls"] = str(i % 3).encode()
        files[f"c{i % 2}/{i:04d}.txt"] = f"picture {i}".encode()
    return files


def write_tar_bytes(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def image_table(first: int, count: int, *, struct: bool = True) -> pa.Table:
    data = [encoded(scene(seed=i), "JPEG") for i in range(first, first + count)]
    images = [{"bytes": d, "path": f"{i}.jpg"} for i, d in enumerate(data)] if struct else data
    features = {
        "image": {"_type": "Image"},
        "label": {"names": ["cat", "dog"], "_type": "ClassLabel"},
    }
    table = pa.table(
        {
            "image": images,
            "label": [i % 2 for i in range(count)],
            "caption": [f"row {i}" for i in range(count)],
        }
    )
    info = json.dumps({"info": {"features": features}})
    return table.replace_schema_metadata({"huggingface": info})
