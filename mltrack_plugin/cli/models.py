"""``mltrack models``: the shipped models, or one model's card."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from mltrack_plugin.cli.command import Command

if TYPE_CHECKING:
    from mltrack_plugin.archives.card import ModelCard

#: Metrics shown as "score" in the table, the first that the card has.
SCORES = ("trackml_score", "fit_accuracy", "test_fit_accuracy", "val_accuracy", "val_score")


@click.command(cls=Command)
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def command(name: str | None, as_json: bool) -> None:
    """List the shipped models, or show the card of one (NAME or a file)."""
    if name is None:
        _print_list(as_json)
    else:
        _print_model(name, as_json)


def score(card: ModelCard) -> tuple[str, float] | None:
    """Name and value of the card's main metric."""
    for name in SCORES:
        value = card.metrics.get(name)
        if isinstance(value, (int, float)):
            return name, float(value)
    return None


def _print_list(as_json: bool) -> None:
    from mltrack_plugin.archives.archive import read_model_file
    from mltrack_plugin.archives.manifest import available_models

    rows: list[dict[str, Any]] = []
    for name, entry in available_models().items():
        file = read_model_file(name)
        rows.append(
            {
                "name": name,
                "architecture": entry.architecture,
                "detectors": list(entry.detectors),
                "datasets": list(entry.datasets),
                "job": entry.job,
                "parameters": file.card.parameters,
                "bytes": len(file.content),
                "sha256": file.sha256,
                "score": dict([found]) if (found := score(file.card)) else {},
            }
        )
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        click.echo("No models are shipped with this installation; train one with:  mltrack train")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("name", no_wrap=True)
    for title in ("network", "detectors"):
        table.add_column(title, overflow="fold")
    for title in ("parameters", "size", "score"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row["name"],
            row["architecture"],
            ", ".join(row["detectors"]),
            f"{row['parameters']:,}",
            f"{row['bytes'] / 1e3:.0f} kB",
            # Scores of some networks are likelihoods, and no share of anything.
            ", ".join(f"{value:.1%}" for value in row["score"].values() if 0 <= value <= 1) or "-",
        )
    Console().print(table)


def _print_model(name: str, as_json: bool) -> None:
    from mltrack_plugin.archives.archive import read_model_file

    file = read_model_file(name)
    facts = {
        "file": str(file.path),
        "sha256": file.sha256,
        "bytes": len(file.content),
        "parameters": file.card.parameters,
    }
    if as_json:
        click.echo(json.dumps({**facts, "card": file.card.model_dump(mode="json")}, indent=2))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, title=Text(file.card.name, "bold"), title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for key, text in _card_rows(file.card).items():
        table.add_row(key, Text(text))
    for key, value in facts.items():
        table.add_row(key, Text(str(value)))
    Console().print(table)


def _card_rows(card: ModelCard) -> dict[str, str]:
    """The card's content as text by label; empty fields are left out."""
    from mltrack_plugin.training.config import training_configs

    rows = {
        "version": card.version,
        "architecture": card.architecture,
        "detectors": ", ".join(card.detectors),
        "input": f"{_with_units(card, card.features)} ({card.coordinate_system})",
        "output": _with_units(card, card.outputs),
        "scales": ", ".join(f"{value:.4g}" for value in card.output_scales),
        "valid for": "; ".join(f"{k} {low:g} to {high:g}" for k, (low, high) in card.validity.items()),
    }
    groups = ("metrics", "training_data", "training_recipe", "hyperparameters")
    for group in groups:
        content = getattr(card, group)
        rows[group.replace("_", " ")] = "\n".join(f"{k}: {_plain(v)}" for k, v in content.items())
    if "command" not in card.training_recipe and card.name in training_configs():
        # Cards of earlier trainings do not name it.
        rows["training configuration"] = f"mltrack train {card.name}"
    rows |= {"licence": card.license, "written by": f"mltrack-plugin {card.mltrack_version}".strip()}
    return {label: text for label, text in rows.items() if text}


def _with_units(card: ModelCard, names: tuple[str, ...]) -> str:
    units = {name: card.units.get(name, "1") for name in names}
    return ", ".join(name if unit == "1" else f"{name} [{unit}]" for name, unit in units.items())


def _plain(value: Any) -> str:
    return (
        f"{value:.6g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
    )
