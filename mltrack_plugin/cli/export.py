"""``mltrack export``: a training checkpoint becomes a model archive."""

from __future__ import annotations

from pathlib import Path

import click

from mltrack_plugin.cli.command import Command

Three = tuple[float, float, float]


@click.command(cls=Command)
@click.argument("checkpoint", type=click.Path(dir_okay=False), required=False)
@click.option(
    "--output",
    required=True,
    type=click.Path(),
    help="Archive to write; .pt (TorchScript), .pt2 (torch.export) or .onnx gives the format.",
)
@click.option("--name", help="Name of the model; default: that of the training.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@click.option(
    "--from-trackformers",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Published checkpoint of TrackFormers' EncReg, instead of CHECKPOINT.",
)
@click.option("--kind", help="With --from-trackformers: redvid-linear, redvid-helical or trackml.")
@click.option("--heads", type=click.IntRange(1), help="With --from-trackformers: heads, if not as published.")
@click.option(
    "--input-mean",
    type=float,
    nargs=3,
    metavar="X Y Z",
    help="With kind trackml: mean of the training hits, mm.",
)
@click.option(
    "--input-scale",
    type=float,
    nargs=3,
    metavar="X Y Z",
    help="With kind trackml: standard deviation of them, mm.",
)
def command(
    checkpoint: str | None,
    output: str,
    name: str | None,
    overwrite: bool,
    from_trackformers: str | None,
    kind: str | None,
    heads: int | None,
    input_mean: Three | None,
    input_scale: Three | None,
) -> None:
    """Make a model archive from a CHECKPOINT of mltrack train, or from a published one.

    The archive is compared with the checkpoint on random events before it gets its name.
    """
    from mltrack_plugin.archives.checkpoint import check_output, export_checkpoint, export_network
    from mltrack_plugin.atomic import check_apart, check_file
    from mltrack_plugin.errors import ConfigurationError

    if (checkpoint is None) == (from_trackformers is None):
        raise ConfigurationError("give either a CHECKPOINT of mltrack train or --from-trackformers FILE")
    check_apart([output], [checkpoint or str(from_trackformers)])
    check_file(Path(output), overwrite=overwrite)
    if checkpoint is not None:
        if kind or heads or input_mean or input_scale:
            raise ConfigurationError(
                "--kind, --heads, --input-mean and --input-scale belong to --from-trackformers"
            )
        model = export_checkpoint(checkpoint, output, name=name, overwrite=overwrite)
    else:
        from mltrack_plugin.archives.trackformers import KINDS, load_trackformers

        if kind is None:
            raise ConfigurationError(f"--from-trackformers needs --kind: {', '.join(KINDS)}")
        check_output(output, overwrite)
        network, card = load_trackformers(
            str(from_trackformers),
            kind,
            name=name,
            heads=heads,
            input_mean=input_mean,
            input_scale=input_scale,
        )
        model = export_network(network, card, output)
    size = model.path.stat().st_size / 1e3
    click.echo(f"{model.path}: model {model.card.name}, {model.card.parameters} parameters, {size:.0f} kB")
    click.echo(f"sha256 {model.sha256}")
    click.echo(_advice(model.path))


def _advice(path: Path) -> str:
    """How the model can be tried."""
    from mltrack_plugin.errors import ConfigurationError
    from mltrack_plugin.jobs.choice import jobs_for_model

    try:
        jobs_for_model(str(path))
    except ConfigurationError:
        # Of another detector, or for another kind of algorithm, than any shipped job.
        return f"Name it in a job file (model: {path}), and try it with:  mltrack run --input EVENTS --config JOB.yaml"
    return f"Try it with:  mltrack run --input EVENTS --model {path}"
