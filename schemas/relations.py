"""What a table, view, column or macro of the published database is declared as."""

from dataclasses import dataclass
from typing import Final, Literal

import pyarrow as pa

from schemas.files import comment_of


@dataclass(frozen=True)
class Column:
    """A column: its name, SQL type and meaning."""

    name: str
    type: str
    comment: str


@dataclass(frozen=True)
class Table:
    """A table or view.

    Attributes:
        name: as in SQL.
        kind: a view reads the Parquet files; a table is stored in the database.
        comment: what one row is.
        columns: in order.
        example: a query that shows its use; every table has one.
        open: further columns follow, one for each name that the pictures' metadata has.
    """

    name: str
    kind: Literal["table", "view"]
    comment: str
    columns: tuple[Column, ...]
    example: str
    open: bool = False


@dataclass(frozen=True)
class Parameter:
    """A parameter of a macro; without a default it must be given."""

    name: str
    comment: str
    default: str | None = None


@dataclass(frozen=True)
class Macro:
    """A macro: a table macro has columns, a scalar one has none.

    Attributes:
        name: as in SQL.
        comment: what it answers.
        parameters: in order.
        columns: of a table macro, in order; what its query's part `answer` selects.
        example: a query that shows its use, and has rows in the demo's warehouse.
        order: columns that a table macro's rows are ordered by.
    """

    name: str
    comment: str
    parameters: tuple[Parameter, ...]
    columns: tuple[Column, ...]
    example: str
    order: tuple[str, ...] = ()

    @property
    def kind(self) -> Literal["table", "scalar"]:
        """Whether it stands after FROM or within an expression."""
        return "table" if self.columns else "scalar"

    @property
    def signature(self) -> str:
        """How it is called, with its defaults."""
        shown = [
            p.name if p.default is None else f"{p.name} := {p.default}" for p in self.parameters
        ]
        return f"{self.name}({', '.join(shown)})"


_SQL_TYPES: Final = {
    pa.string(): "VARCHAR",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float16(): "FLOAT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
}


def sql_type(kind: pa.DataType) -> str:
    """Return the SQL type of a Parquet column; a vector is FLOAT[]: its width differs by scan."""
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return f"{sql_type(kind.value_type)}[]"
    return _SQL_TYPES[kind]


def columns_of(schema: pa.Schema, *names: str) -> tuple[Column, ...]:
    """Return the columns of a file's schema, all or those named, in the order named."""
    chosen = names or tuple(schema.names)
    return tuple(
        Column(n, sql_type(schema.field(n).type), comment_of(schema.field(n))) for n in chosen
    )


SCAN: Final = Column("scan_id", "VARCHAR", "Scan: one model over one data set.")
SNAPSHOT: Final = Column("snapshot", "BIGINT", "Snapshot of the scan that the row was made from.")
STALE: Final = Column(
    "stale",
    "BOOLEAN",
    "Whether what the row was made from is no longer what there is; results.why says what.",
)
BASIS: Final = Column("basis", "VARCHAR", "TextSpan basis: a result's name; by default its pool's.")
POOL: Final = Column("pool", "VARCHAR", "Description pool.")

LAYER_P: Final = Parameter("layer", "Layer, from 0; or the head's name, as 'L22H11'.")
TEXT_LAYER_P: Final = Parameter(
    "layer", "Layer of the text tower, from 0; or the head's name, as 'L5H0'."
)
HEAD_P: Final = Parameter("head", "Head, from 0; left out when a name is given.", "NULL")
HEAD_OR_NULL_P: Final = Parameter("head", "Head, or NULL when `layer` is a name.")
K_P: Final = Parameter("k", "Rows wanted.", "10")
SCAN_P: Final = Parameter("scan", "Scan; by default the newest.", ":default_scan")
ANY_SCAN_P: Final = Parameter("scan", "Scan.")
BASIS_P: Final = Parameter("basis", "TextSpan basis; by default the scan's newest.", "NULL")
ROLE_BASIS_P: Final = Parameter("basis", "TextSpan basis of the role; by default any.", "NULL")
ASKED_LAYER_P: Final = Parameter("asked_layer", LAYER_P.comment)
ASKED_HEAD_P: Final = Parameter("asked_head", "Head, or NULL when the layer is a name.")
ASKED_ROLE_P: Final = Parameter("asked_role", "Role.")
ASKED_BASIS_P: Final = Parameter("asked_basis", "TextSpan basis, or NULL for any.")
ROLE_P: Final = Parameter("role", "Role of the heads, as in head_roles.")
CENTRED_P: Final = Parameter("centred", "Subtract each head's mean over all pictures.", "true")
CLASSIFIER_P: Final = Parameter("classifier", "Zero-shot classifier that has head_logits.")
HEADS_P: Final = Parameter(
    "heads", "Names of the heads to mean-ablate, as ['L22H11', 'L23H6']; or a subquery of a list."
)
