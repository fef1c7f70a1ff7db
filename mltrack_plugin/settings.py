"""Settings: the base of every configuration, and how wrong ones are reported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from mltrack_plugin.errors import ConfigurationError, did_you_mean


class Config(BaseModel):
    """Base of every configuration: frozen, validated, unknown settings refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        protected_namespaces=(),
        use_attribute_docstrings=True,
    )


def validated(kind: type[Config], settings: Mapping[str, Any], owner: str) -> Config:
    """Build a config, turning pydantic's report into one ``ConfigurationError``."""
    try:
        return kind.model_validate(dict(settings))
    except ValidationError as error:
        lines = []
        for item in error.errors():
            where = ".".join(str(part) for part in item["loc"])
            if item["type"] == "extra_forbidden":
                lines.append(f"no setting {where!r}. {did_you_mean(where, kind.model_fields)}")
            elif where:
                lines.append(f"{where}: {item['msg']} (got {item['input']!r})")
            else:
                # Several settings together are wrong; the message of the model's own check names them.
                lines.append(item["msg"].removeprefix("Value error, "))
        raise ConfigurationError(f"{owner}: " + "; ".join(lines)) from None
