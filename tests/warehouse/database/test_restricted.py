"""What a person may ask: questions are answered, nothing is written, nothing outside is read."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from schemas.errors import UsageError
from tests.synthetic import Shape, write_basis, write_scan, write_texts
from warehouse.database.publish import publish
from warehouse.database.query import Limits, ask, connect, connect_restricted
from warehouse.files.layout import Warehouse

SECRET = "do not show this"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a warehouse beside a secret, with links to it inside."""
    base = tmp_path_factory.mktemp("restricted")
    root = base / "atlas"
    write_basis(write_scan(root, pictures=20, shape=Shape(layers=(2,))), write_texts(root))
    publish(Warehouse(root))
    for secret in (base / "secret.csv", base / "atlas-secret.csv"):
        secret.write_text(SECRET)
    (root / "link.csv").symlink_to(base / "secret.csv")
    (root / "scans" / "out").symlink_to(base / "elsewhere")
    (root / "pools" / "up").symlink_to(base)
    return root


@pytest.fixture
def con(root: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect_restricted(Warehouse(root)) as opened:
        yield opened


@pytest.mark.parametrize(
    "sql",
    [
        "FROM head_texts('L2H1')",
        "SELECT * FROM nearest_by_head('birds/0000003.png', 'L2H1')",
        "-- a comment\n/* another */ SELECT 1;",
        "WITH RECURSIVE r AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM r WHERE i < 5) FROM r",
        "WITH copy AS (SELECT 'COPY (SELECT 1) TO ''x''' AS copy) SELECT copy FROM copy",
        "FROM (PIVOT heads ON layer IN (2) USING sum(n))",
        "SELECT 1 UNION BY NAME SELECT 2 AS b",
        "VALUES (1)",
        "TABLE scans",
        "SHOW TABLES",
        "DESCRIBE heads",
        "SUMMARIZE heads",
        "EXPLAIN FROM heads",
        "EXPLAIN ANALYZE SELECT count(*) FROM heads",
        "EXPLAIN (FORMAT json) FROM heads",
        "EXPLAIN (SELECT 1)",
        "SET VARIABLE a = (SELECT max(name) FROM heads); FROM head_texts(getvariable('a'))",
        "SET VARIABLE \"a b\" = 'é;'; RESET VARIABLE a",
        "FROM default_scan.images",
        "SELECT json_keys(metadata) FROM images",
        "SELECT count(*) FROM range(10) WHERE range IN (SELECT unnest([1, 2]))",
    ],
)
def test_questions_are_answered(con: duckdb.DuckDBPyConnection, sql: str) -> None:
    ask(con, sql)


NESTED = (
    "WITH z AS (COPY (SELECT 1) TO '{to}') FROM z",
    "SELECT (WITH z AS (COPY (SELECT 1) TO '{to}') SELECT count(*) FROM z)",
    "DESCRIBE (WITH z AS (COPY (SELECT 1) TO '{to}') FROM z)",
    "EXPLAIN ANALYZE WITH z AS (COPY (SELECT 1) TO '{to}') FROM z",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{to}'",
    "EXPLAIN (ANALYZE) COPY (SELECT 1) TO '{to}'",
    "SET VARIABLE a = (WITH z AS (COPY (SELECT 1) TO '{to}') SELECT count(*) FROM z)",
    "FROM query('WITH z AS (COPY (SELECT 1) TO ''{to}'') FROM z')",
    "FROM \"QUERY\"('COPY (SELECT 1) TO ''{to}''')",
    "SELECT * FROM system.main.query('SELECT 1')",
    "SELECT 1; WITH z AS (COPY (SELECT 1) TO '{to}') FROM z; SELECT 2",
    "COPY (SELECT 1) TO '{to}'",
    "COPY heads FROM '{to}'",
    "ATTACH '{to}' AS x",
    "EXPORT DATABASE '{to}'",
    "IMPORT DATABASE '{to}'",
    "WITH z AS (INSERT INTO heads SELECT * FROM heads RETURNING *) FROM z",
    "WITH z AS (DELETE FROM heads RETURNING *) FROM z",
    "INSERT INTO heads SELECT * FROM heads",
    "CREATE TABLE memory.main.mine AS SELECT 1",
    "CREATE TEMP TABLE mine AS SELECT 1",
    "DROP TABLE heads",
    "PREPARE p AS COPY (SELECT 1) TO '{to}'",
    "EXECUTE p",
    "INSTALL httpfs",
    "LOAD httpfs",
    "PRAGMA database_list",
    "PRAGMA enable_external_access = true",
    "CALL pragma_version()",
    "SET threads = 1",
    "SET lock_configuration = false",
    "SET enable_external_access = true",
    "SET GLOBAL allowed_directories = ['/']",
    "RESET enable_external_access",
    "USE memory",
    "CHECKPOINT",
    "VACUUM",
    "DETACH atlas",
    "BEGIN",
)


@pytest.mark.parametrize("sql", NESTED)
def test_nothing_else_is_let_through(con: duckdb.DuckDBPyConnection, root: Path, sql: str) -> None:
    to = root / "written.csv"
    before = sorted(p for p in root.parent.rglob("*"))
    with pytest.raises(UsageError) as caught:
        ask(con, sql.format(to=to))
    assert "\n" not in str(caught.value)
    assert sorted(p for p in root.parent.rglob("*")) == before
    assert ask(con, "SELECT count(*) AS n FROM heads").table["n"].to_pylist() == [4]


@pytest.mark.parametrize(
    "sql",
    [
        "FROM read_text('{base}/secret.csv')",
        "FROM read_text('{root}/link.csv')",
        "FROM read_csv('{root}/pools/up/secret.csv')",
        "FROM read_csv('{root}/../secret.csv')",
        "FROM read_csv('{root}-secret.csv')",
        "FROM read_blob('{root}/scans/scan/../../../secret.csv')",
        "FROM '{base}/secret.csv'",
        "FROM '{root}/link.csv'",
        "FROM read_csv('/etc/passwd')",
        "FROM '/etc/passwd'",
        "FROM query_table('/etc/passwd')",
        "FROM glob('/*')",
        "FROM glob('{base}/*')",
        "FROM sniff_csv('{base}/secret.csv')",
        "FROM read_json('{base}/secret.csv')",
        "FROM parquet_metadata('{base}/secret.csv')",
        "FROM read_text('/proc/self/environ')",
        "FROM read_text('http://127.0.0.1:1/x')",
        "SELECT getenv('HOME')",
        "SET VARIABLE headatlas_root = '{base}'; FROM images",
        "FROM read_text(['{root}/scans/scan/scan.json', '{base}/secret.csv'])",
    ],
)
def test_nothing_outside_is_read(con: duckdb.DuckDBPyConnection, root: Path, sql: str) -> None:
    with pytest.raises((UsageError, duckdb.Error)) as caught:
        found = ask(con, sql.format(root=root, base=root.parent))
        assert SECRET not in str(found.table.to_pylist())
        assert "secret" in sql and not found.table.num_rows, found.table.to_pylist()[:3]
    assert SECRET not in str(caught.value)


def test_a_scan_that_is_a_link_is_read(root: Path, tmp_path: Path) -> None:
    moved = tmp_path / "atlas"
    big = tmp_path / "big disk"
    write_scan(moved, pictures=20, shape=Shape(layers=(2,)))
    (moved / "scans" / "scan").rename(big)
    (moved / "scans" / "scan").symlink_to(big)
    publish(Warehouse(moved))
    with connect_restricted(Warehouse(moved)) as con:
        rows = ask(con, "FROM nearest_by_head('birds/0000003.png', 'L2H1')").table
    assert rows.num_rows == 10


def test_a_restriction_holds_for_its_connection_alone(root: Path) -> None:
    warehouse = Warehouse(root)
    with connect_restricted(warehouse) as con, connect(warehouse) as free:
        assert free.execute("SELECT count(*) FROM read_text('/etc/hostname')").fetchall() == [(1,)]
        assert ask(con, "SELECT 1 AS a").table.num_rows == 1
        free.execute("SET threads = 2")


def test_time_and_rows_are_limited(con: duckdb.DuckDBPyConnection) -> None:
    endless = "SELECT count(*) FROM range(10000000) a, range(1000000) b WHERE a.range * b.range = 7"
    with pytest.raises(UsageError, match=r"no answer within 0\.2 s"):
        ask(con, endless, limits=Limits(seconds=0.2))
    for limit, rows, cut in ((5, 5, True), (20, 20, False), (50, 20, False), (None, 20, False)):
        found = ask(con, "FROM images", limits=Limits(seconds=60.0, rows=limit))
        assert (found.table.num_rows, found.cut) == (rows, cut)


def test_parameters_go_to_the_statements_that_name_them(con: duckdb.DuckDBPyConnection) -> None:
    sql = "SET VARIABLE a = $x; SELECT getvariable('a') AS a, $y AS y, $x AS x"
    found = ask(con, sql, {"x": "it's; --", "y": [1, None]}).table.to_pylist()
    assert found == [{"a": "it's; --", "y": [1, None], "x": "it's; --"}]
    with pytest.raises(UsageError, match=r"names no parameter \$z; there is \$x, \$y"):
        ask(con, sql, {"x": 1, "y": 2, "z": 3})
    with pytest.raises(UsageError, match=r"names \$y, which is not given"):
        ask(con, sql, {"x": 1})
