"""The commands about pools by a language model and about roles, and what they say when done."""

from jobs import console
from jobs.command import NO_PUBLISH, Command, publish_and_say
from schemas.config import PublishConfig
from schemas.config_roles import (
    PoolBuildConfig,
    PoolCompareConfig,
    PoolRandomConfig,
    PoolWordsConfig,
    RolesConfig,
    RoleSetConfig,
)


def _pool_build(config: PoolBuildConfig, *, dry_run: bool) -> None:
    """Build a description pool by a language model; what was paid for is never asked again."""
    from jobs.commands import pool_build

    if dry_run:
        plan = pool_build.estimate(config)
        rows: list[tuple[str, object]] = [
            ("questions", plan.questions),
            ("answered by earlier runs", plan.cached),
            ("tokens asked, about", plan.tokens_in),
            ("tokens answered, about", plan.tokens_out),
            ("cost, about", "give --price-in and --price-out" if plan.cost is None else plan.cost),
        ]
        console.table("A build would ask this; nothing was asked", ("", ""), rows)
        return
    done = pool_build.run(config)
    counts = done.counts
    rows = [
        ("descriptions", done.kept),
        ("properties", done.properties),
        ("repeated", done.duplicates),
        ("nearly repeated", done.near_duplicates),
        ("too long for the model", done.too_long),
        ("empty", done.empty),
        ("answers paid for now", counts.paid),
        ("answers of earlier runs", counts.cached),
        ("answers thrown away: malformed", counts.malformed),
        ("cut off", counts.cut_off),
        ("refused", counts.refused),
        ("empty answers", counts.empty),
        ("questions without an answer", counts.unanswered),
        ("tokens asked", counts.prompt_tokens),
        ("tokens answered", counts.completion_tokens),
        *([] if done.cost is None else [("cost", done.cost)]),
    ]
    console.table(f"Pool {done.pool}", ("", ""), rows)


def _pool_words(config: PoolWordsConfig) -> None:
    """Write a pool of the commonest English words: a baseline."""
    from jobs.commands import pool_build

    console.note(f"pool {config.name}: {pool_build.run_words(config):,} words")


def _pool_random(config: PoolRandomConfig) -> None:
    """Write a pool of random directions for one scan's model: a baseline."""
    from jobs.commands import pool_build

    console.note(f"pool {config.name}: {pool_build.run_random(config):,} random directions")


def _pool_compare(config: PoolCompareConfig) -> None:
    """Compare pools: accuracy and explained variance with heads projected onto their texts."""
    from jobs.commands import pool_compare

    done = pool_compare.run(config)
    rows = [(p.pool, p.m, p.explained, p.accuracy) for p in done.points]
    console.table("Pools", ("pool", "m", "explained variance", "accuracy"), rows)
    console.note(
        f"over {done.images:,} pictures: {done.baseline:.1%} right with heads as they are, "
        f"{done.ablated:.1%} with every head at its mean; plot in {done.plot}, table in "
        f"{done.table}"
    )


def _roles(config: RolesConfig, *, no_publish: bool) -> None:
    """Give every head of a basis a role, and say how sure it is."""
    from jobs.commands import roles

    done = roles.run(config)
    agree = "" if done.agreement is None else f"; the language model agrees on {done.agreement:.0%}"
    console.note(
        f"roles of basis {done.basis} of {done.scan}: {done.clear} of {done.heads} heads have a "
        f"clear role, {done.manual} are set by hand{agree}"
    )
    if done.attributes:
        console.note(f"attributes measured: {', '.join(done.attributes)}")
    if not no_publish:
        publish_and_say(PublishConfig(warehouse=config.warehouse))


def _role_set(config: RoleSetConfig, *, no_publish: bool) -> None:
    """Set a head's role by hand, or take it back; kept through rebuilds."""
    from jobs.steps import manual_roles

    roles = manual_roles.run_set(config)
    rows = [(head, said["role"], said["note"]) for head, said in sorted(roles.items())]
    console.table("Roles set by hand", ("head", "role", "note"), rows)
    if not no_publish:
        publish_and_say(PublishConfig(warehouse=config.warehouse))


_DRY_RUN = (("dry_run", "Say what would be asked and cost; ask nothing."),)

COMMANDS: tuple[Command, ...] = (
    Command("pool build", PoolBuildConfig, _pool_build, ("name",), _DRY_RUN),
    Command("pool words", PoolWordsConfig, _pool_words),
    Command("pool random", PoolRandomConfig, _pool_random),
    Command("pool compare", PoolCompareConfig, _pool_compare, ("pools",)),
    Command("roles build", RolesConfig, _roles, (), NO_PUBLISH),
    Command("roles set", RoleSetConfig, _role_set, ("head", "role"), NO_PUBLISH),
)
