"""`python -m demo.world sheet OUT.png`: a contact sheet; `... checksums`: write CHECKSUMS.json."""

from pathlib import Path
from typing import Annotated

import typer

from demo.world.checksums import write_checksums
from demo.world.factors import IMAGE_SIZE
from demo.world.sheet import contact_sheet

app = typer.Typer(no_args_is_help=True)


@app.command()
def sheet(
    out: Annotated[Path, typer.Argument(help="PNG to write.")],
    split: Annotated[str, typer.Option(help="Split to show.")] = "test",
    rows: Annotated[int, typer.Option(help="Rows of pictures.")] = 4,
    columns: Annotated[int, typer.Option(help="Pictures a row.")] = 6,
    start: Annotated[int, typer.Option(help="Number of the first picture.")] = 0,
    scale: Annotated[int, typer.Option(help="Times enlarged.")] = 2,
    captions: Annotated[bool, typer.Option(help="Write a caption under each picture.")] = True,
    size: Annotated[int, typer.Option(help="Pixels a side, 64 to 96.")] = IMAGE_SIZE,
) -> None:
    """Write a contact sheet of a split."""
    drawn = contact_sheet(
        split, rows, columns, start=start, scale=scale, captions=captions, image_size=size
    )
    drawn.save(out, optimize=True)


@app.command()
def checksums() -> None:
    """Draw the first pictures of every split and keep their digests with the code."""
    write_checksums()


if __name__ == "__main__":
    app()
