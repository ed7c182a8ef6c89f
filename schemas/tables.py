"""The published database's tables and views, declared once: every column with its meaning.

SQL comments, the docs and the tests are made from these declarations. Columns that come straight
from a Parquet file take type and comment from `schemas.files`. `warehouse/sql/` says how each one
is filled: `load/TABLE.sql` for a table, `views/VIEW.sql`. Macros are in `schemas.macros`.
"""

from typing import Final

from schemas import results
from schemas.files import (
    contributions_schema,
    frames_schema,
    images_schema,
    pool_schema,
    rejects_schema,
)
from schemas.relations import (
    POOL,
    SCAN,
    SNAPSHOT,
    STALE,
    Column,
    Table,
    columns_of,
)
from schemas.results.textspan import textspan_schema
from schemas.runs import RUNS

_IMAGES: Final = images_schema(1)
_TEXTSPAN: Final = textspan_schema()

TABLES: Final = (
    Table(
        "published",
        "table",
        "This version of the database: one row.",
        (
            Column("version", "BIGINT", "Number of the version, as in the file's name."),
            Column("published_at", "TIMESTAMP", "When it was built, UTC."),
            Column(
                "warehouse",
                "VARCHAR",
                "Folder that the views read Parquet from. After the warehouse has moved, publish "
                "again, or SET VARIABLE headatlas_root = 'NEW FOLDER'.",
            ),
            Column("default_scan", "VARCHAR", "The scan that macros ask when none is named."),
        ),
        "SELECT version, published_at, default_scan FROM published",
    ),
    Table(
        "scans",
        "table",
        "One row per scan: its model, its data set and what is stored of it.",
        (
            SCAN,
            Column("dataset", "VARCHAR", "Name of the data set."),
            Column("source", "VARCHAR", "Where the pictures were listed."),
            Column("model", "VARCHAR", "open_clip name of the model, or the name in its config."),
            Column("pretrained", "VARCHAR", "Tag, file name or `none`."),
            Column("weights_sha256", "VARCHAR", "Digest of the weights of the whole model."),
            Column("n_layers", "INTEGER", "Blocks of the image encoder."),
            Column("n_heads", "INTEGER", "Heads of a block."),
            Column("d_model", "INTEGER", "Width of the residual stream."),
            Column(
                "d_head",
                "INTEGER",
                "Width of a head; its vectors' too, unless behind a pool.",
            ),
            Column("d_joint", "INTEGER", "Width of the embedding shared with texts."),
            Column("read_out", "VARCHAR", "tok, avg, avg-norm-first, map, coca or attn2d."),
            Column("pool_layer", "INTEGER", "The attention pool's heads as a layer; else NULL."),
            Column("pool_heads", "INTEGER", "Heads of the attention pool; NULL without one."),
            Column("pool_width", "INTEGER", "Width of each, and of its vectors unless gated."),
            Column(
                "pool_mlp",
                "VARCHAR",
                "The MLP of an attention pool: component; or gated, each head going on through it "
                "into the joint space. NULL without an attention pool.",
            ),
            Column("layers", "SMALLINT[]", "Layers whose contributions are stored, from 0."),
            Column("precision", "VARCHAR", "Arithmetic of the forward pass: fp32, bf16 or fp16."),
            Column("images", "BIGINT", "Pictures stored."),
            Column("rejects", "BIGINT", "Pictures that could not be used."),
            Column(
                "zero_shot_accuracy",
                "DOUBLE",
                "Sanity number over these labelled pictures, 0..1; NULL until a scan has made it.",
            ),
            Column("created_at", "TIMESTAMP", "When the scan was first made, UTC."),
            Column("snapshot", "BIGINT", "Snapshot that this version of the database shows."),
            Column("snapshot_at", "TIMESTAMP", "When that snapshot was committed, UTC."),
            Column("is_default", "BOOLEAN", "Whether macros ask this scan when none is named."),
        ),
        "SELECT scan_id, model, images, rejects FROM scans ORDER BY created_at DESC",
    ),
    Table(
        "images",
        "view",
        "One row per picture, from the shards' Parquet files.",
        (SCAN, *columns_of(_IMAGES)),
        "SELECT label, count(*) AS pictures FROM images GROUP BY label ORDER BY label",
    ),
    Table(
        "image_index",
        "table",
        "The columns of images that look-ups need, stored in the database: fast by key.",
        (
            SCAN,
            *columns_of(_IMAGES, "image_id", "key", "uri", "label"),
            Column("shard", "VARCHAR", "Shard that holds the picture."),
        ),
        "SELECT image_id FROM image_index WHERE key LIKE '%.png' LIMIT 5",
    ),
    Table(
        "image_metadata",
        "table",
        "One row per picture: the metadata of its listing, as typed columns.",
        (SCAN, *columns_of(_IMAGES, "image_id")),
        "SELECT * FROM image_metadata LIMIT 5",
        open=True,
    ),
    Table(
        "rejects",
        "table",
        "One row per picture that could not be used.",
        (SCAN, *columns_of(rejects_schema(), "key", "uri", "stage", "reason")),
        "SELECT stage, reason, count(*) AS pictures FROM rejects GROUP BY ALL ORDER BY ALL",
    ),
    Table(
        "contributions",
        "view",
        "One row per picture and head, from the shards' Parquet files. Filter scan_id, layer and "
        "head by equality: only that head's row groups are then read.",
        (SCAN, *columns_of(contributions_schema(1), "image_id", "layer", "head", "vector")),
        "SELECT image_id, vector FROM contributions WHERE layer = 4 AND head = 1 LIMIT 5",
    ),
    Table(
        "head_frames",
        "view",
        "One row per stored head and direction of its frame, from the scan's Parquet file: what "
        "turns a text's embedding into the head's own coordinates. Heads behind a pool, stored in "
        "the joint space itself, have none; nor has a scan of an older version until it is run "
        "again.",
        (SCAN, *columns_of(frames_schema(1))),
        "SELECT layer, head, count(*) AS directions FROM head_frames GROUP BY ALL ORDER BY ALL",
    ),
    Table(
        "head_covariances",
        "table",
        "One row per stored head and direction of its frame: that row of the covariance of its "
        "vectors over all pictures. Of no head whose covariance is not kept, as behind a pool.",
        (
            SCAN,
            *columns_of(frames_schema(1), "layer", "head", "direction"),
            Column("covariance", "FLOAT[]", "With each direction of the frame, in order; M2 / n."),
        ),
        "SELECT layer, head, sum(covariance[direction + 1]) AS variance FROM head_covariances "
        "GROUP BY ALL ORDER BY variance DESC LIMIT 5",
    ),
    Table(
        "unit_vectors",
        "table",
        "Heads that were published with --materialize: centred unit vectors, stored in the "
        "database. The macros use them by themselves.",
        (
            SCAN,
            *columns_of(contributions_schema(1), "layer", "head", "image_id"),
            Column("norm", "FLOAT", "Length of the centred vector."),
            Column(
                "vector", "FLOAT[]", "(vector - mean of the head) / norm; zeros where norm is 0."
            ),
        ),
        "SELECT DISTINCT scan_id, layer, head FROM unit_vectors ORDER BY ALL",
    ),
    Table(
        "pools",
        "table",
        "One row per description pool.",
        (
            POOL,
            Column("descriptions", "BIGINT", "Descriptions in the pool."),
            Column("properties", "BIGINT", "Different properties among them."),
            Column("provenance", "VARCHAR", "Where the pool comes from, as a JSON object."),
        ),
        "SELECT pool, descriptions, properties FROM pools",
    ),
    Table(
        "descriptions",
        "table",
        "One row per description of a pool.",
        (POOL, *columns_of(pool_schema())),
        "SELECT property, count(*) AS texts FROM descriptions GROUP BY property ORDER BY ALL",
    ),
    Table(
        "description_vectors",
        "table",
        "One row per scan and description of a pool that its model has embedded, as textspan does.",
        (
            SCAN,
            POOL,
            *columns_of(pool_schema(), "description_id", "text"),
            Column(
                "templates",
                "VARCHAR[]",
                "Prompts of the text, whose unit embeddings are averaged; none: the text as it is.",
            ),
            Column("embedding", "FLOAT[]", "Unit-norm embedding in the joint space."),
        ),
        "SELECT a.text, list_inner_product(a.embedding, b.embedding) AS cosine "
        "FROM default_scan.description_vectors AS a, default_scan.description_vectors AS b "
        "WHERE b.description_id = 0 ORDER BY cosine DESC LIMIT 5",
    ),
    Table(
        "results",
        "table",
        "One row per stored result, heads' summary included: where it comes from, and whether what "
        "it stands on still holds. One of segment belongs to no scan.",
        (
            SCAN,
            Column("kind", "VARCHAR", "Kind of result: heads, textspan, ..."),
            Column("name", "VARCHAR", "Name of the result; for textspan, the basis."),
            SNAPSHOT,
            STALE,
            Column(
                "why",
                "VARCHAR",
                "Why it is not current; NULL when it is. The rows of a result of other weights or "
                "another configuration are shown in no table.",
            ),
            Column("created_at", "TIMESTAMP", "When the result was made, UTC."),
            Column(
                "is_default", "BOOLEAN", "The newest of its kind: macros use it if none is named."
            ),
            Column("provenance", "VARCHAR", "All that is known of its making, as a JSON object."),
        ),
        "SELECT scan_id, kind, name, stale, why FROM results ORDER BY stale DESC, kind",
    ),
    RUNS,
    *results.TABLES,
)

# one for each stored layer, named SCAN/L22, and one without rows, named none, in schema by_layer
LAYER_VIEW: Final = Table(
    "by_layer",
    "view",
    "One layer of one scan, as in contributions: what the macros read.",
    (
        *columns_of(contributions_schema(1), "image_id", "head", "vector"),
        Column("file", "VARCHAR", "The row's Parquet file."),
    ),
    "SELECT view_name FROM duckdb_views() WHERE schema_name = 'by_layer'",
)

# one for each role of a scan, numbered, and one without rows, named none, in schema by_role
ROLE_VIEW: Final = Table(
    "by_role",
    "view",
    "All heads of one scan that carry one role: what nearest_by_role reads.",
    (
        *columns_of(contributions_schema(1), "layer", "head"),
        Column("bases", "VARCHAR[]", "TextSpan bases in which the head has the role."),
        *columns_of(contributions_schema(1), "image_id", "vector"),
        Column("file", "VARCHAR", "The row's Parquet file."),
    ),
    "SELECT view_name, comment FROM duckdb_views() WHERE schema_name = 'by_role'",
)
