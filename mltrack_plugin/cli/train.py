"""``mltrack train CONFIG``: train a network on simulated events."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from mltrack_plugin.cli.command import Command


def _overrides(pairs: tuple[str, ...]) -> dict[str, Any]:
    from mltrack_plugin.errors import ConfigurationError
    from mltrack_plugin.settings import load_yaml

    result = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator:
            raise ConfigurationError(f"--set {pair}: expected NAME=VALUE, e.g. --set steps=2000")
        result[name] = load_yaml(value, f"--set {pair}")
    return result


@click.command(name="train", cls=Command)
@click.argument("config")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Folder for checkpoints and metrics. Default: runs/<name of the model>.",
)
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in the output folder.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option(
    "--threads", type=click.IntRange(1), help="CPU threads of the network. Default: torch's own choice."
)
@click.option("--tiny", is_flag=True, help="Train the small variant of CONFIG in seconds: a check, no model.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Override a setting of CONFIG.")
def command(
    config: str,
    output: Path | None,
    resume: bool,
    device: str,
    threads: int | None,
    tiny: bool,
    settings: tuple[str, ...],
) -> None:
    """Train the network of CONFIG (a shipped training configuration or a YAML file).

    A checkpoint is written after each validation, scores and losses go to metrics.csv and curves.png; an interrupted
    training goes on with --resume and gives the same weights as an uninterrupted one. `mltrack export` turns a
    checkpoint into a model archive.
    """
    from mltrack_plugin.errors import require_extra

    require_extra("lightning", "train", "training")
    from mltrack_plugin.training.config import load_training_config

    run = load_training_config(config, tiny=tiny, **_overrides(settings))
    from mltrack_plugin.training.run import train

    folder = output or Path("runs") / run.name
    hits = getattr(run, "batch_hits", None)
    batch = f"{run.batch_size} events" if hits is None else f"{hits} hits"
    click.echo(f"training {run.name} on {run.dataset}: {run.steps} steps of {batch}")
    click.echo(f"writing checkpoints and metrics to {folder} every {run.validation_every} steps")
    try:
        last = train(run, folder, resume=resume, device=device, threads=threads, progress=sys.stderr.isatty())
    except SystemExit as stop:
        # Lightning turns Ctrl-C into the end of the program.
        if not isinstance(stop.__context__, KeyboardInterrupt):
            raise
        if (folder / "last.ckpt").exists():
            words = ["mltrack", "train", config, "--output", str(folder), "--resume", "--device", device]
            words += (["--threads", str(threads)] if threads else []) + (["--tiny"] if tiny else [])
            words += [word for setting in settings for word in ("--set", setting)]
            click.echo(f"go on with:  {shlex.join(words)}", err=True)
        raise stop.__context__ from None
    finally:
        _say_curves(folder)
    # With an early stop the last weights are those of a decline.
    chosen = last if run.patience is None else folder / "best.ckpt"
    click.echo(f"done: {chosen}")
    click.echo(f"export it with:  mltrack export {chosen} --output {run.name}.pt")


def _say_curves(folder: Path) -> None:
    """Where the curves are, or what is missing to draw them."""
    from mltrack_plugin.errors import MissingExtraError, require_extra

    if not (folder / "metrics.csv").exists():
        return
    try:
        require_extra("matplotlib", "plot", "drawing the curves of a training")
    except MissingExtraError as error:
        click.echo(f"metrics: {folder / 'metrics.csv'}; {error}", err=True)
    else:
        click.echo(f"metrics and curves: {folder / 'metrics.csv'}, {folder / 'curves.png'}")
