"""Who may ask the explorer what: GET alone, from known hosts, with the token, of one database."""

from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from jobs.explore.app import application
from jobs.explore.explorer import Explorer
from warehouse.files.layout import Warehouse


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_but_get(client: TestClient, method: str) -> None:
    assert client.request(method, "/").status_code == 405


def test_an_unknown_host_is_refused(client: TestClient) -> None:
    assert client.get("/", headers={"host": "evil.example"}).status_code == 403
    assert client.get("/", headers={"host": "127.0.0.1:8765"}).status_code == 200


def test_beyond_this_machine_a_token_is_needed_once(bare: Warehouse) -> None:
    app = application(Explorer.over(bare), hosts=(), token="right")
    client = TestClient(app, base_url="http://atlas.example")
    assert client.get("/").status_code == 401
    assert client.get("/?token=wrong").status_code == 401
    assert client.get("/thumb/scan/1.jpg").status_code == 401
    entered = client.get("/?token=right", follow_redirects=False)
    assert entered.status_code == 303
    assert entered.headers["location"] == "/"
    assert "HttpOnly" in entered.headers["set-cookie"]
    assert client.get("/").status_code == 200


def test_every_answer_says_what_it_may_load(client: TestClient) -> None:
    for page in ("/", "/nothing", "/static/style.css", "/thumb/world/1.jpg"):
        policy = client.get(page).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "http" not in policy


@pytest.mark.parametrize(
    "path",
    [
        "/thumb/world/../../../../etc/passwd",
        "/thumb/..%2F..%2Fetc/1.jpg",
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static//etc/passwd",
    ],
)
def test_no_path_leads_to_a_file(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert b"root:" not in answer.content
    assert b"import" not in answer.content


def test_a_picture_that_is_not_in_the_scan_is_a_placeholder(client: TestClient) -> None:
    there = client.get("/thumb/world/1.jpg")
    assert client.get("/thumb/world/999999.jpg").content != there.content
    assert client.get("/thumb/nothing/1.jpg").content != there.content


FORBIDDEN = (
    "COPY heads TO '/tmp/stolen.csv'",
    "COPY (SELECT 1) TO 'x.csv'",
    "CREATE TABLE t AS SELECT 1",
    "DROP TABLE heads",
    "DELETE FROM heads",
    "INSERT INTO heads SELECT * FROM heads",
    "UPDATE heads SET n = 0",
    "ATTACH '/tmp/x.duckdb'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "RESET lock_configuration",
    "PRAGMA database_list; SELECT 1",
    "EXPORT DATABASE '/tmp/x'",
    "CALL pragma_version()",
    "WITH z AS (COPY heads TO '/tmp/stolen.csv') FROM z",
    "FROM read_text('/etc/passwd')",
    "FROM read_csv('/etc/passwd')",
    "FROM '/etc/passwd'",
    "FROM read_blob('/etc/passwd')",
    "FROM glob('/etc/*')",
    "FROM query('COPY heads TO ''/tmp/x.csv''')",
    "SET VARIABLE headatlas_root = '/etc'; FROM images",
    "PREPARE p AS FROM read_text('/etc/passwd'); EXECUTE p",
    "CREATE TEMP VIEW v AS FROM read_text('/etc/passwd'); FROM v",
    "FROM read_duckdb('/tmp/x.duckdb', table_name = 't')",
    "EXPLAIN ANALYZE COPY heads TO '/tmp/stolen.csv'",
    "",
)


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_the_console_neither_writes_nor_reads_elsewhere(client: TestClient, statement: str) -> None:
    page = client.get("/sql", params={"q": statement})
    assert page.status_code == 200
    assert "root:" not in page.text
    file = client.get("/download.csv", params={"q": statement})
    assert file.status_code == 400, file.text[:200]


def test_the_console_answers(client: TestClient) -> None:
    assert "L5H0" in client.get("/sql", params={"q": "SELECT name FROM heads"}).text
    assert "physical_plan" in client.get("/sql", params={"q": "EXPLAIN FROM heads"}).text


def test_a_statement_that_runs_too_long_is_stopped(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.explore.database.SECONDS", 0.2)
    endless = "SELECT count(*) FROM range(1000000) a, range(1000000) b, range(100) c"
    page = client.get("/sql", params={"q": endless})
    assert "no answer within" in page.text


def test_a_bare_warehouse_serves(bare: Warehouse, serve: Callable[[Warehouse], TestClient]) -> None:
    assert serve(bare).get("/").status_code == 200
