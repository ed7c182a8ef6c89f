"""The published database, declared once: every table, view, column and macro, with its meaning.

SQL comments, the docs and the tests are made from these declarations. Columns that come straight
from a Parquet file take type and comment from `schemas.files`. `warehouse/sql/` says how each one
is filled: `load/TABLE.sql` for a table, `views/VIEW.sql`, `macros/MACRO.sql`.
"""

from typing import Final

from schemas import results
from schemas.class_tables import CLASS_MACROS
from schemas.files import (
    contributions_schema,
    images_schema,
    pool_schema,
    rejects_schema,
)
from schemas.relations import (
    BASIS,
    POOL,
    SCAN,
    SNAPSHOT,
    STALE,
    Column,
    Macro,
    Parameter,
    Table,
    columns_of,
)
from schemas.results.textspan import textspan_schema

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
            Column("n_layers", "INTEGER", "Layers of the image encoder."),
            Column("n_heads", "INTEGER", "Heads per layer."),
            Column("d_model", "INTEGER", "Width of the residual stream."),
            Column("d_head", "INTEGER", "Width of a head, and of its vectors."),
            Column("d_joint", "INTEGER", "Width of the embedding shared with texts."),
            Column("layers", "SMALLINT[]", "Layers whose contributions are stored, from 0."),
            Column("precision", "VARCHAR", "Arithmetic of the forward pass: fp32, bf16 or fp16."),
            Column("images", "BIGINT", "Pictures stored."),
            Column("rejects", "BIGINT", "Pictures that could not be used."),
            Column("zero_shot_accuracy", "DOUBLE", "Sanity number over labelled pictures, 0..1."),
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
        "SELECT image_id, vector FROM contributions WHERE layer = 2 AND head = 1 LIMIT 5",
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
        "results",
        "table",
        "One row per stored result of a scan, heads' summary included: where it comes from, and "
        "whether it is up to date.",
        (
            SCAN,
            Column("kind", "VARCHAR", "Kind of result: heads, textspan, ..."),
            Column("name", "VARCHAR", "Name of the result; for textspan, the basis."),
            SNAPSHOT,
            STALE,
            Column("created_at", "TIMESTAMP", "When the result was made, UTC."),
            Column(
                "is_default", "BOOLEAN", "The newest of its kind: macros use it if none is named."
            ),
            Column("provenance", "VARCHAR", "All that is known of its making, as a JSON object."),
        ),
        "SELECT scan_id, kind, name, snapshot FROM results WHERE stale",
    ),
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

_LAYER_P: Final = Parameter("layer", "Layer, from 0; or the head's name, as 'L22H11'.")
_HEAD_P: Final = Parameter("head", "Head, from 0; left out when a name is given.", "NULL")
_K_P: Final = Parameter("k", "Rows wanted.", "10")
_SCAN_P: Final = Parameter("scan", "Scan; by default the newest.", ":default_scan")
_CENTRED_P: Final = Parameter("centred", "Subtract the head's mean over all pictures.", "true")
_BASIS_P: Final = Parameter("basis", "TextSpan basis; by default the scan's newest.", "NULL")

_NEIGHBOURS: Final = (
    Column("rank", "BIGINT", "Order, from 0: the highest score first; ties by image_id."),
    *columns_of(_IMAGES, "key", "image_id"),
    Column("score", "DOUBLE", "Cosine or dot product; higher is more alike."),
    *columns_of(_IMAGES, "label", "uri"),
    SCAN,
)

HELPERS: Final = (
    Macro(
        "contribution_file",
        "Path of the Parquet file of one layer of a shard.",
        (
            Parameter("scan", "Scan."),
            Parameter("shard", "Shard."),
            Parameter("layer", "Layer, from 0."),
        ),
        (),
        "SELECT contribution_file(scan_id, shard, 2) FROM image_index LIMIT 1",
    ),
    Macro(
        "image_file",
        "Path of the Parquet file of a shard's pictures.",
        (Parameter("scan", "Scan."), Parameter("shard", "Shard.")),
        (),
        "SELECT image_file(scan_id, shard) FROM image_index LIMIT 1",
    ),
    Macro(
        "layer_of",
        "Layer of a head given as name or as layer and head; -1 where neither.",
        (_LAYER_P, Parameter("head", "Head, or NULL when `layer` is a name.")),
        (),
        "SELECT layer_of('L22H11', NULL)",
    ),
    Macro(
        "head_of",
        "Head of a head given as name or as layer and head; -1 where neither.",
        (_LAYER_P, Parameter("head", "Head, or NULL when `layer` is a name.")),
        (),
        "SELECT head_of('L22H11', NULL)",
    ),
    Macro(
        "head_complaint",
        "What is wrong with the scan or head asked for; NULL when both exist.",
        (_LAYER_P, Parameter("head", "Head, or NULL."), Parameter("scan", "Scan.")),
        (),
        "SELECT head_complaint('L2H1', NULL, 'no such scan')",
    ),
    Macro(
        "basis_of",
        "The TextSpan basis asked for: the one named, or else the scan's newest.",
        (Parameter("basis", "Basis, or NULL."), Parameter("scan", "Scan.")),
        (),
        "SELECT scan_id, basis_of(NULL, scan_id) FROM scans",
    ),
    Macro(
        "is_materialised",
        "Whether a head's centred unit vectors are stored in the database.",
        (_LAYER_P, Parameter("head", "Head, or NULL."), Parameter("scan", "Scan.")),
        (),
        "SELECT name, is_materialised(name, NULL, scan_id) FROM heads",
    ),
    Macro(
        "stored_source",
        "The view of by_layer that holds a head; the one of no rows if unit_vectors holds it.",
        (
            _LAYER_P,
            Parameter("head", "Head, or NULL."),
            Parameter("scan", "Scan."),
            Parameter("centred", "Whether the head's mean is subtracted."),
        ),
        (),
        "SELECT stored_source('L2H1', NULL, 'scan', true)",
    ),
    Macro(
        "role_source",
        "The view of by_role that holds the heads of a role; the one of no rows if none has it.",
        (Parameter("asked_role", "Role."), Parameter("scan", "Scan.")),
        (),
        "SELECT role_source('colour', 'scan')",
    ),
)

QUESTIONS: Final = (
    Macro(
        "nearest_by_head",
        "Pictures most alike to a given one by one head's contribution; that picture is left out. "
        "Layer, head, scan and centred are constants, parameters or getvariable('v'), no subquery.",
        (
            Parameter("key", "Key of the picture to start from."),
            _LAYER_P,
            _HEAD_P,
            _K_P,
            _SCAN_P,
            Parameter("metric", "'cosine', or 'dot'.", "'cosine'"),
            _CENTRED_P,
        ),
        _NEIGHBOURS,
        "SELECT rank, key, score FROM nearest_by_head('birds/0000003.png', 'L2H1', k := 5)",
    ),
    Macro(
        "nearest_by_role",
        "Pictures most alike to a given one by all heads that carry a role, their coordinates laid "
        "end to end; as headatlas nearest --role. It reads those heads and no others, so it costs "
        "as many times nearest_by_head as there are; publish --materialize role:NAME makes that "
        "cheaper. Role, scan, basis and centred are constants, parameters or getvariable('v'), no "
        "subquery.",
        (
            Parameter("key", "Key of the picture to start from."),
            Parameter("role", "Role of the heads, as in head_roles."),
            _K_P,
            _SCAN_P,
            Parameter("basis", "TextSpan basis of the role; by default any.", "NULL"),
            Parameter("metric", "'cosine', or 'dot'.", "'cosine'"),
            Parameter("centred", "Subtract each head's mean over all pictures.", "true"),
        ),
        _NEIGHBOURS,
        "SELECT rank, key, score FROM nearest_by_role('birds/0000003.png', 'colour', k := 5)",
    ),
    Macro(
        "nearest_by_text",
        "Pictures furthest along a text of a head's TextSpan basis. With metric 'dot' the score is "
        "what the head adds to the cosine of picture and text, beyond its mean. Layer, head, scan "
        "and centred are constants, parameters or getvariable('v'), no subquery.",
        (
            Parameter("text", "One of the head's texts, exactly as head_texts shows it."),
            _LAYER_P,
            _HEAD_P,
            _K_P,
            _SCAN_P,
            _BASIS_P,
            Parameter("metric", "'dot', or 'cosine'.", "'dot'"),
            _CENTRED_P,
        ),
        _NEIGHBOURS,
        "SELECT rank, key, score FROM nearest_by_text('a photo of water', 'L2H1', k := 5)",
    ),
    Macro(
        "head_texts",
        "The texts that span a head, in the order picked.",
        (_LAYER_P, _HEAD_P, _SCAN_P, _BASIS_P),
        (
            *columns_of(
                _TEXTSPAN, "rank", "text", "property", "variance", "explained", "cumulative"
            ),
            *columns_of(_TEXTSPAN, "pca_cumulative", "description_id"),
            BASIS,
            SCAN,
        ),
        "SELECT rank, text, explained, cumulative FROM head_texts('L2H1')",
    ),
)

MACROS: Final = (
    *HELPERS,
    *QUESTIONS,
    *CLASS_MACROS,
)
