"""How a result's file becomes rows of its tables: column by column, from the kind's declaration."""

from schemas.kinds import Kind
from schemas.relations import Column, Table
from warehouse.database.sqltext import Sql, identifier, literal, load, names, render

# columns that every result answers, by the parameter of the same meaning
_COMMON = {
    "scan_id": Sql("$scan"),
    "snapshot": Sql("$snapshot"),
    "stale": Sql("$stale"),
    "created_at": Sql("$created_at"),
}


def load_sql(kind: Kind, table: Table) -> Sql:
    """Return the statement that fills a table from a result at `$path`.

    `load/TABLE.sql` where there is one; else each column is the file's of that name, the result's
    name, what its provenance says, or what all results have.

    Raises:
        ValueError: the declaration of the kind says of a column nowhere what it is.
    """
    if table.name in names("load"):
        return load(f"load/{table.name}")
    chosen = [
        Sql(f"{_source(kind, table, column)} AS {identifier(column.name)}")
        for column in table.columns
    ]
    return render(
        "INSERT INTO :table BY NAME SELECT :columns\n"
        "FROM read_parquet($path, hive_partitioning = false)",
        table=identifier(table.name),
        columns=Sql(", ".join(chosen)),
    )


def _source(kind: Kind, table: Table, column: Column) -> Sql:
    name = column.name
    if name == kind.named:
        return Sql("$name")
    if name in kind.schema.names:
        return identifier(name)
    if name in kind.said:
        return Sql(f"$provenance::JSON ->> {literal('$.' + name)}")
    if name in _COMMON:
        return _COMMON[name]
    raise ValueError(
        f"table {table.name}, column {name}: not in the schema of kind {kind.name}, nor its "
        f"`named` or `said`; declare it there, or write load/{table.name}.sql"
    )
