"""conf/*.yaml overlays and --set pairs -> PipelineConfig. OmegaConf merges and checks types."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, is_dataclass
from io import StringIO
from pathlib import Path
from typing import Any, get_args

import yaml
from omegaconf import AnyNode, DictConfig, ListConfig, OmegaConf, StringNode
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from recsys_spark.contracts.config import PipelineConfig
from recsys_spark.contracts.dotted import flat
from recsys_spark.contracts.errors import ConfigError


def _text_on_disk(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


def load_config(
    overlays: Sequence[str] = (), pairs: Sequence[str] = (), text_of: Callable[[str], str] = _text_on_disk
) -> PipelineConfig:
    """Defaults < each overlay file < each `key=value` pair.

    text_of: reads an overlay; the command line gives one that knows object stores, of which this package knows nothing.
    Raises ConfigError for a file that is missing or no YAML mapping, an unknown key (naming the nearest one),
    a value of the wrong type, or one that a section refuses.
    """
    merged = _schema()
    for path in overlays:
        merged = _merge(merged, _read_yaml(merged, path, text_of), source=str(path))
    for pair in pairs:
        if "=" not in pair:
            raise ConfigError(f"--set takes key=value, got '{pair}'")
        merged = _merge(merged, _parse_pair(merged, pair), source=f"--set {pair}")
    try:
        config = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise ConfigError(_first_line(error)) from error
    assert isinstance(config, PipelineConfig)
    return config


def known_keys(node: Any = PipelineConfig, prefix: str = "") -> list[str]:
    """Dotted names of all keys, sections left out."""
    names = []
    for field in fields(node):
        default = field.default_factory() if callable(field.default_factory) else field.default
        if is_dataclass(default):
            names += known_keys(type(default), f"{prefix}{field.name}.")
        else:
            names.append(prefix + field.name)
    return names


def _schema() -> DictConfig:
    schema = OmegaConf.structured(PipelineConfig)
    _unlock(schema)
    return schema


def _unlock(node: DictConfig) -> None:
    # OmegaConf marks each frozen dataclass read-only, which would also forbid merging into it.
    OmegaConf.set_readonly(node, False)
    for key in node:
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none():
            _unlock(child)


def _read_yaml(base: DictConfig, path: str, text_of: Callable[[str], str]) -> DictConfig:
    try:
        text = text_of(path)
        loaded, written = OmegaConf.load(StringIO(text)), _as_written(text)
    except FileNotFoundError:
        raise ConfigError(f"config file '{path}' does not exist") from None
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"config file '{path}' cannot be read: {_first_line(error)}") from error
    if not isinstance(loaded, DictConfig):
        raise ConfigError(f"config file '{path}' must hold a mapping of sections")
    return _with_texts_as_written(base, loaded, written)


def _parse_pair(base: DictConfig, pair: str) -> DictConfig:
    name, _, text = pair.partition("=")
    try:
        written = _as_written(text)
        for key in reversed(name.split(".")):
            written = {key: written}
        return _with_texts_as_written(base, OmegaConf.from_dotlist([pair]), written)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {pair}: the value is no YAML: {_first_line(error)}") from error


def _merge(base: DictConfig, layer: DictConfig, source: str) -> DictConfig:
    try:
        merged = OmegaConf.merge(base, layer)
    except ConfigKeyError as error:
        raise ConfigError(f"{source}: {_unknown_key(str(error.full_key))}") from error
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None)
        raise ConfigError(f"{source}: {f'{key}: ' if key else ''}{_first_line(error)}") from error
    assert isinstance(merged, DictConfig)
    return merged


def _as_written(text: str) -> Any:
    """YAML with every scalar as its text."""
    loader = yaml.BaseLoader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def _with_texts_as_written(base: DictConfig, layer: DictConfig, written: object) -> DictConfig:
    """Take texts, alone and in lists and mappings, as they are written: YAML reads 00123 as 83 and no as False.

    A mapping of texts has names with dots: one that is nested, as --set makes it of its key, is taken apart to these.
    """
    for key in (str(key) for key in layer if key in base):
        if not isinstance(written, dict) or key not in written:
            continue
        known, given, own = base._get_node(key), layer._get_node(key), written[key]
        if isinstance(known, DictConfig) and isinstance(given, DictConfig):
            if get_args(known._metadata.ref_type) == (str, str):
                layer[key] = _dotted(given, own)
            else:
                _with_texts_as_written(known, given, own)
        elif known is not None and isinstance(given, ListConfig) and get_args(known._metadata.ref_type)[:1] == (str,):
            pairs = zip(list(given), own, strict=True)
            layer[key] = [_text(value, text) for value, text in pairs]
        elif isinstance(known, StringNode) and isinstance(given, AnyNode):
            layer[key] = _text(given._value(), own)
    return layer


def _dotted(given: DictConfig, written: Any) -> dict[str, Any]:
    values: Any = OmegaConf.to_container(given, resolve=False)
    texts = flat(written) if isinstance(written, dict) else {}
    return {name: _text(value, texts.get(name)) for name, value in flat(values or {}).items()}


def _text(value: Any, written: object) -> Any:
    """What is written, where YAML makes a number or a truth value of it."""
    return written if isinstance(value, int | float) and isinstance(written, str) else value


def _unknown_key(key: str) -> str:
    section, _, _ = key.rpartition(".")
    siblings = sorted({name[len(section) :].lstrip(".").split(".")[0] for name in _below(section, known_keys())})
    beside = [f"{section}.{name}".lstrip(".") for name in siblings]
    nearest = [*difflib.get_close_matches(key, beside, n=1), *difflib.get_close_matches(key, known_keys(), n=1)]
    hint = f"; did you mean '{nearest[0]}'?" if nearest else "."
    return f"unknown key '{key}'{hint} Known keys of {section or 'the top level'}: {', '.join(siblings)}"


def _below(section: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if not section or name.startswith(section + ".")]


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
