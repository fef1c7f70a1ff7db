"""``mltrack export``: a training checkpoint becomes a model archive."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("checkpoint", type=click.Path(dir_okay=False))
@click.option(
    "--output",
    required=True,
    type=click.Path(),
    help="Archive to write; .pt (TorchScript), .pt2 (torch.export) or .onnx gives the format.",
)
@click.option("--name", help="Name of the model; default: that of the training.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
def command(checkpoint: str, output: str, name: str | None, overwrite: bool) -> None:
    """Make a model archive from a CHECKPOINT of mltrack train.

    The archive is compared with the checkpoint on random events before it gets its name.
    """
    from mltrack_plugin.io.atomic import check_apart, check_file
    from mltrack_plugin.models.checkpoint import export_checkpoint

    check_apart([output], [checkpoint])
    check_file(Path(output), overwrite=overwrite)
    model = export_checkpoint(checkpoint, output, name=name, overwrite=overwrite)
    size = model.path.stat().st_size / 1e3
    click.echo(f"{model.path}: model {model.card.name}, {model.card.parameters} parameters, {size:.0f} kB")
    click.echo(f"sha256 {model.sha256}")
    click.echo(f"Try it with:  mltrack run --input EVENTS --model {model.path}")
