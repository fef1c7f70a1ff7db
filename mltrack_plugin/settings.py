"""Settings: the base of every configuration, and how wrong ones are reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_origin

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
                names = _settings_at(kind, item["loc"][:-1])
                lines.append(f"no setting {where!r}. {did_you_mean(str(item['loc'][-1]), names)}")
            elif where:
                lines.append(f"{where}: {item['msg']} (got {item['input']!r})")
            else:
                # Several settings together are wrong; the message of the model's own check names them.
                lines.append(item["msg"].removeprefix("Value error, "))
        raise ConfigurationError(f"{owner}: " + "; ".join(lines)) from None


def _settings_at(kind: Any, path: Sequence[int | str]) -> set[str]:
    """Names of the settings of the configurations that may stand at a place in a configuration."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        if not path:
            return set(kind.model_fields)
        field = kind.model_fields.get(str(path[0]))
        # A part that is no field chooses a member of a union.
        return _settings_at(kind, path[1:]) if field is None else _settings_at(field.annotation, path[1:])
    inner = [member for member in get_args(kind) if member is not type(None)]
    rest = path[1:] if get_origin(kind) in (dict, list, tuple) else path
    return set().union(*(_settings_at(member, rest) for member in inner))
