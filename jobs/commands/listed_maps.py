"""The commands of maps: `headatlas map`, `map-statistics` and `segment`."""

import json
import sys
from collections.abc import Sequence
from dataclasses import astuple, fields

from jobs import console
from jobs.command import NO_PUBLISH, Command, publish_and_say
from schemas.config import PublishConfig
from schemas.config_maps import MapConfig, MapStatisticsConfig, SegmentConfig


def _map(config: MapConfig) -> None:
    """Draw where the image encoder looks for each text, over a picture."""
    from jobs.commands import map as job

    done = job.run(config)
    if config.points:
        sys.stdout.write(json.dumps(done.points_json(), indent=2) + "\n")
    else:
        rows = list(zip(config.texts, done.scores, strict=True))
        console.table("Cosine of the picture and each text", ("text", "cosine"), rows)
    for text, words in zip(config.texts, done.words, strict=False):
        console.table(f"Words of “{text}”", ("word", "relevance"), words)
    console.note(f"drew {len(done.titles)} maps to {done.path}")


def _map_statistics(config: MapStatisticsConfig, *, no_publish: bool) -> None:
    """Measure where every head looks for every text, over a data set, as a table."""
    from jobs.commands import map_statistics

    done = map_statistics.run(config)
    _say_left_out(done.rejects)
    by = f", by {len(done.labels)} labels too" if done.labels else ""
    console.note(
        f"{done.name} of {done.scan}: {done.heads} heads, {len(done.texts):,} texts, "
        f"{done.images:,} pictures{by}, "
        + ("there already" if done.reused else f"in {done.seconds:.1f} s")
    )
    if not no_publish:
        publish_and_say(PublishConfig(warehouse=config.warehouse))


def _segment(config: SegmentConfig, *, no_publish: bool) -> None:
    """Score maps by every method against masks, and say what each costs."""
    from jobs.commands import segment

    done = segment.run(config)
    columns = [field.name for field in fields(segment.MethodScores)]
    title = f"{config.data.name}: {done.images:,} pictures, protocol {config.protocol}"
    console.table(title, columns, [astuple(one) for one in done.scores])
    if done.multilabel_plain is not None:
        console.note(
            f"multi-label mAP: plain {done.multilabel_plain:.4f}, by feature surgery "
            f"{done.multilabel_surgery:.4f}"
        )
    _say_left_out(done.rejects)
    console.note(f"wrote {done.folder}: scores.parquet, scores.csv, examples.png")
    if config.warehouse is not None:
        console.note(f"run {done.run} of segmentation_scores")
        if not no_publish:
            publish_and_say(PublishConfig(warehouse=config.warehouse))


def _say_left_out(rejects: Sequence[tuple[str, str]]) -> None:
    for key, reason in rejects[:5]:
        console.warn(f"left out {key}: {reason}")
    if len(rejects) > 5:
        console.warn(f"{len(rejects)} pictures were left out in all")


COMMANDS: tuple[Command, ...] = (
    Command("map", MapConfig, _map, ("image", "texts")),
    Command("map-statistics", MapStatisticsConfig, _map_statistics, ("data",), NO_PUBLISH),
    Command("segment", SegmentConfig, _segment, ("data",), NO_PUBLISH),
)
