"""The commands of `headatlas`: what each is called, and what it says when it is done.

A command's job is imported when it runs: asking the database should not wait for torch and Ray.
"""

import pyarrow as pa

from jobs import console
from jobs.command import NO_PUBLISH, Command, publish_and_say
from jobs.commands import listed_ablation as commands_ablation
from jobs.commands import listed_maps as commands_maps
from jobs.commands import listed_roles as commands_roles
from schemas.config import (
    CompactConfig,
    DemoConfig,
    EvaluateConfig,
    GcConfig,
    InfoConfig,
    NearestConfig,
    PoolImportConfig,
    PoolListConfig,
    PublishConfig,
    RefreshConfig,
    ScanConfig,
    SqlConfig,
    TextSpanConfig,
    VerifyConfig,
)
from schemas.errors import CorruptStore


def show(title: str, found: pa.Table) -> None:
    """Print an Arrow table."""
    columns = [column.to_pylist() for column in found.columns]
    console.table(title, found.column_names, list(zip(*columns, strict=True)))


def _scan(config: ScanConfig, *, dry_run: bool, no_publish: bool) -> None:
    """Write every head's contribution to every picture's embedding, and publish."""
    from jobs.commands import scan

    # rejects are judged last, so that what is stored is published all the same
    done = scan.run(config.model_copy(update={"max_rejects": None}), dry_run=dry_run)
    if dry_run:
        rows: list[tuple[str, object]] = [
            ("scan", done.scan),
            ("to scan", done.scanned),
            ("there already", done.reused),
            ("bytes to store", console.size(done.bytes)),
        ]
        console.table("A scan would do this; nothing was written", ("", ""), rows)
        return
    t = done.timing
    busy = f"read {t.read:.1f} · decode {t.decode:.1f} · model {t.model:.1f} · write {t.write:.1f}"
    rows = [
        ("scan", done.scan),
        ("snapshot", done.snapshot),
        ("pictures stored", done.images),
        ("rejected", done.rejects),
        ("scanned now", done.scanned),
        ("reused", done.reused),
        ("vanished", done.vanished),
        ("seconds", done.seconds),
        ("worker seconds", busy),
        ("written", console.size(done.bytes)),
    ]
    console.table(f"Scan {done.scan}", ("", ""), rows)
    if not no_publish:
        _publish(PublishConfig(warehouse=config.warehouse))
    scan.check_rejects(config, done)


def _textspan(config: TextSpanConfig, *, no_publish: bool) -> None:
    """Find, for every stored head, the texts of a pool that span its contributions."""
    from jobs.commands import textspan

    done = textspan.run(config)
    console.note(
        f"basis {done.basis} of {done.scan}: {done.heads} heads over {done.images:,} pictures in "
        f"{done.seconds:.1f} s"
    )
    if not no_publish:
        _publish(PublishConfig(warehouse=config.warehouse))


def _publish(config: PublishConfig) -> None:
    """Build the database from the files; readers of older versions are not disturbed."""
    publish_and_say(config)


def _pool_list(config: PoolListConfig) -> None:
    """List the description pools."""
    from jobs.commands import pool

    rows = [
        (p.name, len(p.texts), len({x for x in p.properties if x}), p.provenance.get("source"))
        for p in pool.listed(config)
    ]
    console.table("Description pools", ("pool", "descriptions", "properties", "source"), rows)


def _pool_import(config: PoolImportConfig) -> None:
    """Import a file of descriptions as a pool; `general` is the pool that ships."""
    from jobs.commands import pool

    done = pool.run_import(config)
    left = f"; left out {done.empty} empty and {done.duplicates} repeated lines"
    console.note(
        f"pool {done.pool}: {done.kept:,} descriptions in {done.properties} properties"
        + (left if done.empty or done.duplicates else "")
    )


def _sql(config: SqlConfig) -> None:
    """Ask the published database, read-only; or write the answer to a file."""
    from jobs.commands import sql

    answer = sql.run(config)
    if answer is not None:
        show("", answer)


def _nearest(config: NearestConfig) -> None:
    """Find the pictures most alike in what chosen heads write, to a picture or a text."""
    from jobs.commands import nearest

    done = nearest.run(config)
    rows = [(n.rank, n.key, n.score, n.label) for n in done.neighbours]
    title = f"Nearest to {done.query} by {', '.join(done.heads)} in {done.scan}"
    console.table(title, ("rank", "key", "score", "label"), rows)


def _evaluate(config: EvaluateConfig, *, no_publish: bool) -> None:
    """Measure how well each head retrieves by each attribute of the pictures, and store it."""
    from jobs.commands import evaluate

    done = evaluate.run(config)
    rows = [
        (
            row.attribute,
            row.head,
            row.score.precision,
            row.score.average_precision,
            done.embedding[row.attribute].precision,
            done.embedding[row.attribute].average_precision,
            row.score.chance,
        )
        for row in done.best()
    ]
    columns = (
        "attribute",
        "best head",
        f"precision@{done.k}",
        "mAP",
        "embedding",
        "its mAP",
        "chance",
    )
    console.table(f"Retrieval in {done.scan}, {done.queries} queries", columns, rows)
    if not no_publish:
        _publish(PublishConfig(warehouse=config.warehouse))


def _verify(config: VerifyConfig) -> None:
    """Check every live file: checksums, counts, layout."""
    from jobs.commands import maintain

    reports = maintain.run_verify(config)
    problems = [(p.shard, p.file, p.problem) for report in reports for p in report.problems]
    problems += [(p.shard, p.file, p.problem) for p in maintain.run_verify_segmentation(config)]
    for report in reports:
        console.note(f"{report.scan}: {report.shards} shards, {report.images:,} pictures checked")
    if problems:
        console.table("Problems", ("shard", "file", "problem"), problems)
        raise CorruptStore(
            f"{len(problems)} problems; restore those files, or delete the shards or files named "
            "and make them again"
        )


def _gc(config: GcConfig) -> None:
    """Delete shards that no kept snapshot and no published version names."""
    from jobs.commands import maintain

    for found in maintain.run_gc(config):
        console.note(
            f"{found.scan}: deleted {len(found.shards)} shards, {console.size(found.bytes)}"
        )
    swept = maintain.run_sweep(config)
    if swept.files:
        console.note(
            f"left by killed runs: deleted {swept.files} files, {console.size(swept.bytes)}"
        )


def _compact(config: CompactConfig) -> None:
    """Merge small shards into larger ones; nothing is computed again."""
    from jobs.commands import maintain

    for snapshot in maintain.run_compact(config):
        console.note(f"snapshot {snapshot.number}: {len(snapshot.shards)} shards")


def _info(config: InfoConfig) -> None:
    """Say what is in a warehouse, and what this machine would scan with."""
    from jobs.commands import info

    for title, columns, rows in info.run(config):
        console.table(title, columns, rows)


def _refresh(config: RefreshConfig) -> None:
    """Scan, textspan and publish as a YAML file says, each only where needed."""
    from jobs.commands import refresh

    done = refresh.run(config)
    console.note(
        f"{done.scan.scan}: {done.scan.scanned:,} pictures scanned, made anew: "
        f"{', '.join(done.made) or 'nothing'}, "
        + (f"published version {done.published.version}" if done.published else "nothing new")
    )


def _demo(config: DemoConfig) -> None:
    """Go the whole way on the pictures and the small CLIP that ship."""
    from jobs.commands import demo

    done = demo.run(config)
    what = "the small CLIP that ships" if done.trained else "RANDOM WEIGHTS (nothing is learnt)"
    show(f"The strongest heads of {what}, and their texts", done.heads)
    for question, text, answer in done.answers:
        console.out.print(f"\n{text}", style="cyan", soft_wrap=True, markup=False)
        show(question, answer)


ALL = (
    Command(
        "scan",
        ScanConfig,
        _scan,
        ("source",),
        (
            ("dry_run", "Say what would be done and stored; write nothing."),
            *NO_PUBLISH,
        ),
    ),
    Command(
        "textspan",
        TextSpanConfig,
        _textspan,
        (),
        NO_PUBLISH,
    ),
    Command("pool list", PoolListConfig, _pool_list),
    Command("pool import", PoolImportConfig, _pool_import, ("file",)),
    Command("publish", PublishConfig, _publish),
    Command("sql", SqlConfig, _sql, ("statement",)),
    Command("nearest", NearestConfig, _nearest, ("query",)),
    Command("evaluate", EvaluateConfig, _evaluate, (), NO_PUBLISH),
    *commands_ablation.COMMANDS,
    *commands_roles.COMMANDS,
    *commands_maps.COMMANDS,
    Command("refresh", RefreshConfig, _refresh, ("plan",)),
    Command("verify", VerifyConfig, _verify),
    Command("gc", GcConfig, _gc),
    Command("compact", CompactConfig, _compact),
    Command("info", InfoConfig, _info),
    Command("demo", DemoConfig, _demo),
)
