"""Trains the small CLIP: `python -m demo.train --out demo/small_clip.safetensors`.

The pictures are drawn once into the work folder; the run saves itself there every hundred steps
and, started again with the same options, goes on from the last save to the very weights that it
would have had. On a terminal it shows a progress bar, elsewhere it prints JSON lines.
`--seed 1` trains another model of the same kind, to compare heads with.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text
from torch import Tensor

from demo import world
from demo.checkpoint import Run, export, resume, store
from demo.feed import Batch, Feed, Pictures, counted, draw
from demo.loss import contrastive, positives
from demo.model import CONFIG, WEIGHTS, build, image_features, normalise, text_features
from demo.optim import (
    clamp_logit_scale,
    multiplies_bfloat16,
    optimizers,
    schedule,
    set_learning_rate,
)
from demo.plan import ON_GPU, Plan
from demo.words import Words, collect
from demo.zeroshot import accuracies, classifier
from schemas.errors import HeadAtlasError

REPORT_EVERY = 20
SAVE_EVERY = 100
VALIDATE_EVERY = 400
VALIDATION = 1_000

Report = Callable[[str, int, int, Mapping[str, object]], None]
"""Called as report(stage, done, total, facts)."""


@dataclass(frozen=True)
class Places:
    """Where a run reads and writes: the config, the work folder, and the exported weights.

    Runs of several seeds share a work folder, and so its pictures.
    """

    config: Path
    work: Path
    out: Path
    seed: int = 0

    @property
    def saved(self) -> Path:
        """The file from which a run goes on."""
        return self.work / (f"run-{self.seed}.pt" if self.seed else "run.pt")

    @property
    def described(self) -> Path:
        """The open_clip config JSON of the exported weights, beside them."""
        return self.out.with_suffix(".json")


def new_run(plan: Plan, words: Words, config: Path, device: torch.device) -> Run:
    """A run at step 0, its weights drawn from the plan's seed."""
    torch.manual_seed(plan.seed)
    model = build(config, vocab_size=len(words.ids), image_size=plan.image_size).to(device)
    return Run(plan, model, optimizers(model, weight_decay=plan.weight_decay))


def mixed(device: torch.device) -> torch.autocast:
    """Bfloat16 where autocast finds that safe and the device multiplies it; float32 elsewhere."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=multiplies_bfloat16(device))


def loss_of(run: Run, batch: Batch, device: torch.device) -> Tensor:
    """The contrastive loss of one batch, in training's arithmetic."""
    factors = batch.factors.to(device)
    known = counted(batch).to(device)
    positive = positives(factors, factors[batch.written_for], batch.mentions.to(device)) & known
    with mixed(device):
        images = image_features(
            run.model, normalise(batch.images.to(device)), drop=batch.drop.to(device)
        )
        texts = text_features(run.model, batch.tokens.to(device))
    cosines = F.normalize(images.float(), dim=-1) @ F.normalize(texts.float(), dim=-1).T
    return contrastive(run.model.logit_scale.exp() * cosines, positive, known)


def take_step(run: Run, batch: Batch, device: torch.device) -> float:
    """One step of both optimisers; returns the loss."""
    started = time.perf_counter()
    plan = run.plan
    share = schedule(run.step, steps=plan.steps, warmup=plan.warmup)
    for optimizer, peak in zip(run.optimizers, (plan.matrix_peak, plan.peak), strict=True):
        set_learning_rate(optimizer, share * peak)
    loss = loss_of(run, batch, device)
    for optimizer in run.optimizers:
        optimizer.zero_grad(set_to_none=True)
    loss.backward()
    for optimizer in run.optimizers:
        optimizer.step()
    clamp_logit_scale(run.model)
    value = loss.item()
    run.step += 1
    run.seconds += time.perf_counter() - started
    return value


@torch.no_grad()
def validate(run: Run, pictures: Pictures, words: Words, device: torch.device) -> dict[str, float]:
    """Zero-shot accuracy per factor, in training's arithmetic."""
    with mixed(device):
        classifiers = {
            factor: classifier(
                factor, lambda t: text_features(run.model, words.encode(t).to(device))
            )
            for factor in world.FACTORS
        }
        features = torch.cat(
            [
                image_features(run.model, normalise(part.to(device)))
                for part in torch.from_numpy(pictures.images).split(250)
            ]
        )
    features = F.normalize(features.float(), dim=-1)
    return accuracies(features, pictures.by_name(), classifiers)


def train(
    plan: Plan, places: Places, *, device: torch.device, processes: int, report: Report
) -> Run:
    """Draw the pictures, train from the last save on, and export; returns the finished run.

    Beside the weights goes the config with the plan's picture size, so that the two load together.
    """
    words = vocabulary(places.config)
    run = new_run(plan, words, places.config, device)
    resume(run, places.saved)

    def pictures(split: str, count: int) -> Pictures:
        return draw(
            split,
            count,
            side=plan.image_size,
            folder=places.work / f"pictures-{plan.world}-{plan.image_size}",
            processes=processes,
            report=lambda done: report(f"draw {split}", done, count, {}),
        )

    feed = Feed(
        shares=(
            (pictures("train", plan.pictures), plan.batch - plan.birds_per_batch),
            (pictures("birds_train", plan.birds), plan.birds_per_batch),
        ),
        words=words,
        seed=plan.seed,
        captions_per_picture=plan.captions_per_picture,
        drop=plan.drop,
    )
    checks = pictures("val", VALIDATION), pictures("birds_select", VALIDATION)

    settings = json.loads(places.config.read_text())
    size = settings["text_cfg"]["vocab_size"]
    settings["vision_cfg"]["image_size"] = plan.image_size

    def look() -> None:
        measured = {check.split: validate(run, check, words, device) for check in checks}
        report("train", run.step, plan.steps, measured)
        export(run, words, places.out, vocab_size=size, facts={"device": device.type, **measured})
        places.described.write_text(json.dumps(settings, indent=4) + "\n")

    with ThreadPoolExecutor(1) as ahead:
        upcoming = ahead.submit(feed.batch, run.step)
        while run.step < plan.steps:
            batch = upcoming.result()
            upcoming = ahead.submit(feed.batch, run.step + 1)
            loss = take_step(run, batch, device)
            if run.step % REPORT_EVERY == 0:
                report("train", run.step, plan.steps, {"loss": round(loss, 4)})
            if run.step % SAVE_EVERY == 0 or run.step == plan.steps:
                store(run, places.saved)
            if run.step % VALIDATE_EVERY == 0 or run.step == plan.steps:
                look()
    return run


def weights_of(seed: int) -> Path:
    """Return where the weights of a seed go: those of any but the first do not ship."""
    return Path(f"data/small_clip-{seed}.safetensors") if seed else WEIGHTS


def vocabulary(config: Path) -> Words:
    """The compact vocabulary of the world's captions and prompts."""
    context = json.loads(config.read_text())["text_cfg"]["context_length"]
    prompts = (
        text for values in world.PROMPTS.values() for texts in values.values() for text in texts
    )
    return collect([*world.vocabulary(), *prompts], context)


class Rate(ProgressColumn):
    """Steps (or pictures) per second, once known."""

    def render(self, task: Task) -> Text:
        """The rate as text."""
        return Text("" if task.speed is None else f"{task.speed:.1f}/s")


@contextmanager
def reporting() -> Iterator[Report]:
    """A progress bar with rate and time left on a terminal, JSON lines elsewhere."""
    if not sys.stdout.isatty():
        started = time.monotonic()

        def line(stage: str, done: int, total: int, facts: Mapping[str, object]) -> None:
            told = {"stage": stage, "done": done, "total": total, **facts}
            print(json.dumps({**told, "seconds": round(time.monotonic() - started, 1)}), flush=True)

        yield line
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    tail = (
        Rate(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, *tail, speed_estimate_period=120) as bar:
        tasks = {}

        def show(stage: str, done: int, total: int, facts: Mapping[str, object]) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total, note="", completed=done)
            if "loss" in facts:
                bar.update(tasks[stage], note=f"loss {facts['loss']}")
            elif facts:
                bar.console.print(f"{stage} {done}: {json.dumps(facts)}")
            bar.update(tasks[stage], completed=done)

        yield show


def main(
    out: Annotated[
        Path | None,
        typer.Option(
            help="where the float16 checkpoint goes; default, that of the model that ships, or for "
            "another seed data/small_clip-SEED.safetensors"
        ),
    ] = None,
    work: Annotated[Path, typer.Option(help="folder for the pictures and the saved run")] = Path(
        "data/small_clip"
    ),
    config: Annotated[Path, typer.Option(help="open_clip model config")] = CONFIG,
    steps: Annotated[int | None, typer.Option(help="steps, for a shorter or longer run")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads, and processes that draw")] = 2,
    seed: Annotated[int, typer.Option(help="of weights and batches: another model", min=0)] = 0,
) -> None:
    """Train the small CLIP on the drawn world; resumes a run that was interrupted."""
    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    plan = replace(ON_GPU if device.type == "cuda" else Plan(), seed=seed)
    places = Places(config, work, out or weights_of(seed), seed)
    if steps is not None:
        plan = replace(plan, steps=steps)
    with reporting() as report:
        try:
            train(plan, places, device=device, processes=threads, report=report)
        except HeadAtlasError as error:
            print(error, file=sys.stderr)
            raise SystemExit(error.exit_code) from None


if __name__ == "__main__":
    typer.run(main)
