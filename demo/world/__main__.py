"""`python -m demo.world`: the world as files, for commands that read files; `-h` lists what."""

import csv
from pathlib import Path
from typing import Annotated

import typer

from demo.world.checksums import write_checksums
from demo.world.factors import IMAGE_SIZE
from demo.world.files import materialise, materialise_birds, materialise_collages
from demo.world.prompts import descriptions
from demo.world.sheet import contact_sheet

app = typer.Typer(no_args_is_help=True)
Folder = Annotated[Path, typer.Argument(help="Folder to write.")]
Count = Annotated[int, typer.Option(help="Pictures.")]


@app.command()
def draw(
    folder: Folder,
    count: Count = 3000,
    split: Annotated[str, typer.Option(help="Split to draw.")] = "test",
) -> None:
    """Write pictures, their masks, and metadata.csv with every factor."""
    typer.echo(materialise(split, folder, count))


@app.command()
def birds(folder: Folder, count: Count = 1000) -> None:
    """Write as many birds to choose heads on as to judge the choice on, laid out as Waterbirds."""
    typer.echo(materialise_birds(folder, dict.fromkeys(("birds_select", "birds_test"), count)))


@app.command()
def collages(folder: Folder, count: Count = 100) -> None:
    """Write pictures of four scenes each, whose masks hold categories."""
    typer.echo(materialise_collages(folder, count))


@app.command()
def texts(file: Annotated[Path, typer.Argument(help="CSV to write.")]) -> None:
    """Write the world's own words as a description pool: texts about one property each."""
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(("text", "property"))
        writer.writerows(row for row in descriptions() if row[1] != "mixed")
    typer.echo(file)


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
