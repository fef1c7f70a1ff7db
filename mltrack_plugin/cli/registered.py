"""``mltrack algorithms``, ``readers``, ``writers`` and ``detectors``: what exists, or all about one."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any

import click

from mltrack_plugin.cli.command import Command
from mltrack_plugin.errors import ConfigurationError, MltrackError, did_you_mean

if TYPE_CHECKING:
    from mltrack_plugin.detectors import Detector
    from mltrack_plugin.framework.algorithm import SequenceElement
    from mltrack_plugin.registry import Kind


def _make(kind: Kind, what: str) -> click.Command:
    def show(name: str | None, as_json: bool) -> None:
        from mltrack_plugin.registry import available, current_name

        points = available(kind)
        if name is None:
            _print_list(kind, points, as_json)
        elif (now := current_name(kind, name)) in points:
            _print_one(_facts(kind, points[now]), as_json)
        else:
            raise ConfigurationError(f"there is no {kind} {name!r}. {did_you_mean(name, points)}")

    parameters = [
        click.Argument(["name"], required=False),
        click.Option(["--json", "as_json"], is_flag=True, help="Print JSON."),
    ]
    text = f"List the {what}, or show the one called NAME with its settings."
    return Command(f"{kind}s", params=parameters, callback=show, help=text)


algorithms = _make("algorithm", "algorithms that the sequence of a job can name")
readers = _make("reader", "readers of events, which are chosen by the content of the input or with --format")
writers = _make("writer", "writers that a job can name")
detectors = _make("detector", "detectors that are known by name")


def _print_list(kind: Kind, points: dict[str, EntryPoint], as_json: bool) -> None:
    rows = []
    for point in points.values():
        try:
            rows.append(_facts(kind, point))
        except MltrackError as error:  # of another package, which must not hide the others
            rows.append({**_origin(point), "purpose": str(error)})
    if as_json:
        keys = ("name", "package", "purpose", "inputs", "outputs", "error")
        click.echo(json.dumps([{k: row[k] for k in keys if k in row} for row in rows], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    # Packages are of interest where there are several.
    several = len({row["package"] for row in rows}) > 1
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("name", no_wrap=True)
    for title in (
        "purpose",
        *(() if kind == "detector" else ("inputs -> outputs",)),
        *("package",) * several,
    ):
        table.add_column(title, overflow="fold")
    for row in rows:
        flow = () if kind == "detector" else (_flow(row),)
        table.add_row(row["name"], row["purpose"], *flow, *(row["package"],) * several)
    Console().print(table)


def _print_one(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({key: value for key, value in facts.items() if key != "yaml"}, indent=2))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console()
    console.print(Text(facts["name"], "bold"), Text(f"({facts['package']}, {facts['object']})"))
    console.print(Text(facts["description"]), "")
    if "yaml" in facts:
        click.echo(facts["yaml"], nl=False)
        return
    for label in ("inputs", "outputs"):
        for key, kind in facts[label].items():
            console.print(Text(f"{label[:-1]:<7}{key}: {kind}"))
    console.print("", Text("settings", "bold"))
    for setting in facts["settings"]:
        default = " (required)" if setting["required"] else f" = {json.dumps(setting['default'])}"
        console.print(Text(f"{setting['name']}: {setting['type']}{default}"))
        console.print(Text(f"    {setting['description']}"))


def _facts(kind: Kind, point: EntryPoint) -> dict[str, Any]:
    """All about one, as plain values."""
    if kind == "detector":
        from mltrack_plugin.detectors import load_detector

        return _origin(point) | _detector(load_detector(point.name))
    from mltrack_plugin.registry import find

    return _origin(point) | _element(find(kind, point.name))


def _origin(point: EntryPoint) -> dict[str, Any]:
    from mltrack_plugin.registry import package_of

    return {"name": point.name, "package": package_of(point), "object": point.value}


def _detector(detector: Detector) -> dict[str, Any]:
    return {
        "purpose": detector.description,
        "description": detector.description,
        "settings": detector.model_dump(mode="json"),
        "yaml": detector.to_yaml(),
    }


def _element(kind: type[SequenceElement]) -> dict[str, Any]:
    from mltrack_plugin.settings_help import describe

    text = (kind.__doc__ or "").split("\n\nSettings:\n")[0].strip()
    facts = {
        "purpose": text.split("\n\n")[0].replace("\n", " "),
        "description": text,
        "settings": [setting.plain() for setting in describe(kind.Config)],
    }
    # Keys of collections are settings: those of an element with all defaults, whatever must be given left out.
    required: dict[str, Any] = {
        n: "?" for n, field in kind.Config.model_fields.items() if field.is_required()
    }
    try:
        element = kind(kind.Config.model_construct(None, **required))
    except Exception:  # of another package; without its keys the rest is of use all the same
        return facts | {"inputs": {}, "outputs": {}}
    return facts | {
        "inputs": {
            h.key: h.kind.__name__ + (", if there is one" if h.optional else "") for h in element.inputs
        },
        "outputs": {handle.key: handle.kind.__name__ for handle in element.outputs},
    }


def _flow(row: dict[str, Any]) -> str:
    return f"{', '.join(row.get('inputs', ()))} -> {', '.join(row.get('outputs', ()))}".strip()
