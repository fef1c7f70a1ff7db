"""Job files with variants: one file for jobs that differ in their model, data set and a few settings.

A file without ``variants`` is one job. With them every entry is a job of its own: its keys replace those of the file,
and ``steps`` the settings of single steps ::

    detector: redvid
    sequence:
      - algorithm: encreg
      - {algorithm: hdbscan, min_samples: 1, epsilon: 0.3}
      - {algorithm: build-tracks}
    variants:
      few-tracks:
        datasets: [redvid-10-50-helical]
        steps: {encreg: {model: few.pt}}
      many-tracks:
        datasets: [redvid-50-100-helical]
        steps: {encreg: {model: many.pt}, hdbscan: {epsilon: 0.2}}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mltrack_plugin.errors import ConfigurationError, did_you_mean


def jobs_in(content: object, source: str) -> dict[str, dict[str, Any]]:
    """The jobs of a file by name.

    Args:
        content: the file's content.
        source: name or path, for messages; its stem is the name of a job that states none.

    Raises:
        ConfigurationError: if the file is no mapping; naming the variant, if it is none or changes a step that the
            sequence does not have.
    """
    if not isinstance(content, Mapping):
        raise ConfigurationError(f"{source}: a job configuration is a mapping with at least 'sequence'")
    common = {key: value for key, value in content.items() if key != "variants"}
    if "variants" not in content:
        return {str(content.get("name", Path(source).stem)): common}
    variants = content["variants"]
    if not isinstance(variants, Mapping) or not variants:
        raise ConfigurationError(f"{source}: 'variants' is a mapping of job names to what differs in them")
    return {str(name): _merged(common, str(name), changes, source) for name, changes in variants.items()}


def _merged(common: Mapping[str, Any], name: str, changes: object, source: str) -> dict[str, Any]:
    """The common part of a file with the changes of a variant."""
    if not isinstance(changes, Mapping):
        raise ConfigurationError(f"{source}: variant {name!r} is a mapping of what differs (got {changes!r})")
    merged = {"name": name, **common, **{k: v for k, v in changes.items() if k not in ("steps", "name")}}
    merged["name"] = name
    steps = changes.get("steps", {})
    sequence = merged.get("sequence")
    if not isinstance(steps, Mapping) or not isinstance(sequence, list):
        raise ConfigurationError(
            f"{source}: variant {name!r}: 'steps' is a mapping of algorithms to settings, 'sequence' a list"
        )
    named = [entry.get("algorithm") if isinstance(entry, Mapping) else entry for entry in sequence]
    for step, settings in steps.items():
        if step not in named:
            raise ConfigurationError(
                f"{source}: variant {name!r}: no step {step!r} in the sequence. "
                f"{did_you_mean(str(step), [str(other) for other in named])}"
            )
        if not isinstance(settings, Mapping):
            raise ConfigurationError(
                f"{source}: variant {name!r}: {step!r} needs settings (got {settings!r})"
            )
    merged["sequence"] = [
        {**(entry if isinstance(entry, Mapping) else {"algorithm": entry}), **steps.get(step, {})}
        for entry, step in zip(sequence, named, strict=True)
    ]
    return merged


def to_yaml(content: Mapping[str, Any]) -> str:
    """A job as YAML of its own, keys in their order, small mappings and lists on one line."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    text = yaml.dump(dict(content), Dumper=Dumper, sort_keys=False, default_flow_style=None, width=110)
    return re.sub(r"^(?=(sequence|figures|tiny):)", "\n", text, flags=re.MULTILINE)
