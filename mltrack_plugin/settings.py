"""Settings: the base of every configuration, and how wrong ones are reported."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from mltrack_plugin.errors import ConfigurationError, did_you_mean
from mltrack_plugin.settings_help import with_settings

#: Values of a YAML file, aliases counted each time they are used, and how deep they may be nested.
MAX_YAML_VALUES = 100_000
MAX_YAML_DEPTH = 50


class Config(BaseModel):
    """Base of every configuration: frozen, validated, unknown settings refused."""

    #: Former name of a setting -> its name; the former one is accepted with a notice.
    renamed: ClassVar[Mapping[str, str]] = {}

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        protected_namespaces=(),
        use_attribute_docstrings=True,
    )

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        # A field that is declared anew, with another default, keeps its description.
        for name, field in cls.model_fields.items():
            for base in cls.__mro__[1:]:
                if field.description is None and issubclass(base, Config) and name in base.model_fields:
                    field.description = base.model_fields[name].description
        cls.__doc__ = with_settings(cls.__dict__.get("__doc__"), cls)

    @model_validator(mode="before")
    @classmethod
    def _former_names(cls, settings: Any) -> Any:
        if not isinstance(settings, Mapping) or not cls.renamed.keys() & settings.keys():
            return settings
        result = dict(settings)
        for former, name in cls.renamed.items():
            if former in result:
                if name in result:
                    raise ValueError(f"{former} is the former name of {name}; give one of them")
                _notice(former, name)
                result[name] = result.pop(former)
        return result


@cache
def _notice(former: str, name: str) -> None:
    """Say once in a process that a setting has another name now."""
    logging.getLogger(__name__).warning("setting %s is now called %s", former, name)


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


def load_yaml(text: str, source: str) -> Any:
    """Content of a YAML file of settings: plain data, no larger than settings are.

    Args:
        text: YAML.
        source: name or path, for messages.

    Raises:
        ConfigurationError: if it is no YAML, nested too deep, or holds too many values (a short text can stand for
            millions of them by aliases of aliases).
    """
    import yaml

    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{source}: no valid YAML: {error}") from error
    except RecursionError as error:
        raise ConfigurationError(f"{source}: YAML nested deeper than {MAX_YAML_DEPTH} levels") from error
    except ValueError as error:
        # Dates such as 2026-99-99, numbers of too many digits.
        raise ConfigurationError(f"{source}: no valid YAML: {error}") from error
    _check_size(content, source, {}, 0)
    return content


def _check_size(value: object, source: str, known: dict[int, tuple[int, int]], depth: int) -> tuple[int, int]:
    """Number of values in plain data, shared parts counted as often as they occur, and how deep they are nested."""
    if not isinstance(value, dict | list):
        return 1, 0
    if (size := known.get(id(value))) is None:
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        # A part that holds itself ends here, too.
        sizes = (
            [_check_size(part, source, known, depth + 1) for part in parts] if depth < MAX_YAML_DEPTH else []
        )
        size = 1 + sum(count for count, _ in sizes), 1 + max((height for _, height in sizes), default=0)
        known[id(value)] = size
    if depth + size[1] > MAX_YAML_DEPTH:
        raise ConfigurationError(f"{source}: YAML nested deeper than {MAX_YAML_DEPTH} levels")
    if size[0] > MAX_YAML_VALUES:
        raise ConfigurationError(
            f"{source}: the YAML stands for more than {MAX_YAML_VALUES:,} values (aliases of aliases?)"
        )
    return size
