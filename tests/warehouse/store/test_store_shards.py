"""A shard comes back as it was written, in the layout that readers of one head rely on."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import CorruptStore, StoreError, UnknownName
from schemas.files import contributions_schema, mlp_schema
from schemas.manifest import ShardManifest, Timing
from tests.store import D_HEAD, D_JOINT, LAYERS, N_HEADS, member, new_scan, payload
from warehouse.files.layout import ScanDir
from warehouse.store.estimate import bytes_to_store
from warehouse.store.reading import (
    iterate_layer,
    iterate_moments,
    read_head,
    read_images,
    read_mlp,
    read_rejects,
    single_value,
)
from warehouse.store.shards import ShardPayload, contributions_path, finite, mlp_path, write_shard


@pytest.fixture
def scan(tmp_path: Path) -> ScanDir:
    return new_scan(tmp_path)


def write(scan: ScanDir, content: ShardPayload, name: str = "s1") -> ShardManifest:
    return write_shard(
        scan,
        name,
        content,
        fingerprint="f",
        members_sha256="m",
        base_snapshot=0,
        device="none",
        timing=Timing(model=2.0),
    )


def some(count: int = 6, first: int = 10, bad: int = 1) -> ShardPayload:
    members = [member(k) for k in range(count)]
    return payload(members, range(first, first + count), {m.key for m in members[:bad]})


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(count=st.integers(0, 9), bad=st.integers(0, 3))
def test_what_is_written_is_read_back(tmp_path_factory, count: int, bad: int) -> None:
    scan = new_scan(tmp_path_factory.mktemp("w"))
    content = some(count, bad=bad)
    manifest = write(scan, content)
    ids = content.images["image_id"].to_numpy()
    assert (manifest.rows, manifest.rejects) == (len(ids), min(bad, count))
    assert read_images(scan, ["s1"]).equals(content.images)
    assert read_rejects(scan, ["s1"]).equals(content.rejects)
    assert next(iterate_moments(scan, ["s1"])).equals(content.moments)
    for layer in LAYERS:
        blocks = list(iterate_layer(scan, ["s1"], layer))
        assert len(blocks) == bool(len(ids))
        for block in blocks:
            assert np.array_equal(block.image_id, ids)
            assert np.array_equal(block.vectors, content.contributions[layer])
            assert np.array_equal(read_mlp(scan, "s1", layer), content.mlp[layer])
        for head in range(N_HEADS):
            found_ids, rows = read_head(scan, ["s1"], layer, head)
            assert np.array_equal(found_ids, ids)
            if len(ids):
                assert np.array_equal(rows, content.contributions[layer][head])


def test_one_row_group_per_head_named_by_its_statistics(scan: ScanDir) -> None:
    write(scan, some())
    for layer in LAYERS:
        file = pq.ParquetFile(scan.shard("s1") / contributions_path(layer))
        assert file.schema_arrow.equals(contributions_schema(D_HEAD))
        assert file.num_row_groups == N_HEADS
        for head in range(N_HEADS):
            assert single_value(file, head, "layer") == layer
            assert single_value(file, head, "head") == head
            vector = file.metadata.row_group(head).column(3)
            assert "BYTE_STREAM_SPLIT" not in vector.encodings
            assert not vector.has_dictionary_page
            assert vector.compression == "ZSTD"
    mlp = pq.read_schema(scan.shard("s1") / mlp_path(0))
    assert mlp.equals(mlp_schema(D_JOINT))


def test_a_reader_of_one_head_reads_no_other_heads_bytes(scan: ScanDir) -> None:
    content = some()
    write(scan, content)
    path = scan.shard("s1") / contributions_path(LAYERS[0])
    metadata = pq.ParquetFile(path).metadata
    data = bytearray(path.read_bytes())
    for head in (0, 2):
        for column in range(4):
            chunk = metadata.row_group(head).column(column)
            start = chunk.dictionary_page_offset or chunk.data_page_offset
            data[start : start + chunk.total_compressed_size] = bytes(chunk.total_compressed_size)
    path.write_bytes(data)
    _, rows = read_head(scan, ["s1"], LAYERS[0], 1)
    assert np.array_equal(rows, content.contributions[LAYERS[0]][1])


def test_heads_and_layers_that_are_not_stored_are_named(scan: ScanDir) -> None:
    write(scan, some())
    with pytest.raises(UnknownName, match=r"no layer .* '2'; there is 1, 3"):
        read_head(scan, ["s1"], 2, 0)
    with pytest.raises(UnknownName, match="no head in layer 1 '3'; there is 0, 1, 2"):
        read_head(scan, ["s1"], 1, 3)
    with pytest.raises(CorruptStore, match="missing"):
        read_head(scan, ["s2"], 1, 0)


def test_the_second_writer_discards_its_copy(scan: ScanDir) -> None:
    first = write(scan, some())
    before = {p: p.stat().st_mtime_ns for p in scan.shards.rglob("*")}
    assert write(scan, some()) == first
    assert {p: p.stat().st_mtime_ns for p in scan.shards.rglob("*")} == before


def test_time_spent_writing_is_in_the_manifest(scan: ScanDir) -> None:
    timing = write(scan, some()).timing
    assert timing.write > 0
    assert timing.model == 2.0


def test_what_a_killed_deletion_left_is_no_shard(scan: ScanDir) -> None:
    write(scan, some())
    (scan.shard("s1") / "manifest.json").unlink()
    assert write(scan, some()).rows == 5
    assert read_images(scan, ["s1"]).num_rows == 5


def doubled(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table, table])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda p: replace(p, images=p.images.slice(1)), "expected float16 .heads, 4 images"),
        (lambda p: replace(p, images=doubled(p.images)), "strictly ascending"),
        (lambda p: replace(p, images=p.images.take([1, 0, 2, 3, 4])), "strictly ascending"),
        (lambda p: replace(p, rejects=doubled(p.rejects)), "a key occurs twice"),
        (lambda p: replace(p, rejects=p.rejects.drop_columns("key")), "do not fit the schema"),
        (
            lambda p: replace(p, mlp={0: np.zeros((5, 2), np.float16)}),
            r"mlp is float16 .5, 2., expected float16 .5 images, 8",
        ),
        (
            lambda p: replace(p, contributions={1: np.full((3, 5, 4), np.inf, np.float16)}),
            "not finite",
        ),
    ],
)
def test_rows_that_do_not_belong_together_are_refused(scan: ScanDir, spoil, said: str) -> None:
    with pytest.raises(StoreError, match=said):
        write(scan, spoil(some()))
    assert list(scan.shards.iterdir()) == []


@given(st.lists(st.floats(width=16), min_size=1, max_size=20))
def test_finite_is_numpys_isfinite(values: list[float]) -> None:
    rows = np.array([values], np.float16)
    assert finite(rows) == np.isfinite(rows).all()


def test_bytes_are_estimated_from_above_within_a_tenth(scan: ScanDir) -> None:
    record = scan.load_record()
    rng = np.random.default_rng(0)
    n_heads, d_head, d_joint, counts = 12, 64, 512, [400, 250]
    record = record.model_copy(
        update={
            "model": record.model.model_copy(
                update={"n_heads": n_heads, "d_head": d_head, "d_joint": d_joint, "n_layers": 4}
            )
        }
    )
    total = 0
    for shard, count in enumerate(counts):
        small = payload([member(k) for k in range(count)], range(count))
        embedding = rng.standard_normal(count * d_joint, dtype=np.float32)
        kind = pa.list_(pa.field("element", pa.float32(), nullable=False), d_joint)
        column = pa.FixedSizeListArray.from_arrays(pa.array(embedding), type=kind)
        at = small.images.schema.get_field_index("embedding")
        heads = [("head", x, y, d_head, d_head**2) for x in LAYERS for y in range(n_heads)]
        others = [
            *(("mlp", x, -1, d_joint, 1) for x in range(4)),
            *(("bias", x, -1, d_joint, 1) for x in range(4)),
            *((name, -1, -1, d_joint, 1) for name in ("init", "const", "embedding")),
        ]
        moments = [
            {
                "component": name,
                "layer": layer,
                "head": head,
                "n": count,
                "mean": rng.standard_normal(width).tolist(),
                "m2": rng.standard_normal(square).tolist(),
                "embedding_mean": rng.standard_normal(width).tolist(),
                "comoment": 0.0,
            }
            for name, layer, head, width, square in (*heads, *others)
        ]
        content = ShardPayload(
            small.images.set_column(at, "embedding", column),
            small.rejects,
            pa.Table.from_pylist(moments, schema=small.moments.schema),
            {
                layer: rng.standard_normal((n_heads, count, d_head)).astype(np.float16)
                for layer in LAYERS
            },
            {x: rng.standard_normal((count, d_joint)).astype(np.float16) for x in range(4)},
        )
        manifest = write(scan, content, f"s{shard}")
        total += sum(f.bytes for f in manifest.files.values())
        shutil.rmtree(scan.shard(f"s{shard}"))
    assert total <= bytes_to_store(record, counts) <= 1.1 * total
