"""Settings from the environment: every mistake is reported at once, by the variable's name.

A process describes its settings as a subclass of `Settings` and calls `load`:

    class DoorSettings(Settings):
        data: Path                      # MILLRACE_DATA
        bus: str = "journal:..."        # MILLRACE_BUS

Values are never repeated in a message: a database URL holds a password often enough.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import AliasChoices, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "MILLRACE_"

SHARED_NAMES = frozenset(
    {
        "MILLRACE_API_KEY",
        "MILLRACE_CA_FILE",
        "MILLRACE_CRASH_AT",
        "MILLRACE_PAUSE_AT",
        "MILLRACE_DATA",
        "MILLRACE_DRAIN_S",
        "MILLRACE_LOG_LEVEL",
        "MILLRACE_OTLP_ENDPOINT",
        "MILLRACE_OTLP_METRICS_INTERVAL_S",
        "MILLRACE_PORT_OFFSET",
        "MILLRACE_REQUIRE_REAL",
        "MILLRACE_TLS_CERT_FILE",
        "MILLRACE_TLS_KEY_FILE",
        "MILLRACE_TRACE_CALLERS_PER_S",
        "MILLRACE_TRACE_SAMPLE_RATIO",
        "MILLRACE_URL",
    }
)
"""Names that any process of an installation may find in its environment without using them."""

_NEAR = 2
"""Names this few edits away from a known one are taken for a misspelling, not for a stranger."""


class SettingsError(Exception):
    """The environment cannot be used. The text has one line per variable and says what to do."""


class Settings(BaseSettings):
    """Base of every process's settings: field `lake` is read from `MILLRACE_LAKE`."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True, env_ignore_empty=True
    )

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """The settings of the environment; `overrides` (fields by name) win, for tests and options.

        Raises `SettingsError` naming every variable that is missing or wrong.
        """
        try:
            return cls(**overrides)
        except ValidationError as error:
            raise SettingsError(_explained(cls, error)) from None

    @classmethod
    def names(cls) -> frozenset[str]:
        """The environment variables that this class reads."""
        return frozenset(
            name for field, info in cls.model_fields.items() for name in _variables(cls, field, info)
        )

    @classmethod
    def variables(cls, field: str) -> list[str]:
        """The environment variables that one field is read from, the one to be named first."""
        return _variables(cls, field, cls.model_fields[field])

    @classmethod
    def table(cls) -> "list[SettingRow]":
        """Every setting, the required ones first, for `--help` and READMEs."""
        rows = [
            SettingRow(_variables(cls, field, info)[0], _default_text(info), info.description or "")
            for field, info in cls.model_fields.items()
        ]
        return sorted(rows, key=lambda row: row.default != _REQUIRED)


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting for people: variable, default in words, meaning."""

    name: str
    default: str
    meaning: str


def report_unknown(
    environ: Mapping[str, str], known: Iterable[str], prefixes: tuple[str, ...] = (PREFIX,)
) -> list[str]:
    """One line for each name of `environ` with one of the prefixes that is not known, to be logged as a warning.

    `known` is what this process reads (`Settings.names()`); `SHARED_NAMES` are known as well.
    Raises `SettingsError` when a name is within two edits of a known one that is not set itself
    as well: a misspelt setting would otherwise leave a default in force without a word.
    """
    names = sorted(SHARED_NAMES.union(known))
    warnings, misspelt = [], []
    for name in sorted(environ):
        if not name.startswith(prefixes) or name in names:
            continue
        nearest = min(names, key=lambda candidate: edit_distance(name, candidate))
        if edit_distance(name, nearest) <= _NEAR:
            misspelt.append(f"{name} is not a setting; did you mean {nearest}? Rename or unset it.")
        else:
            warnings.append(f"{name} is not a setting of this process (nearest known name: {nearest})")
    if misspelt:
        raise SettingsError("\n".join(misspelt))
    return warnings


def edit_distance(left: str, right: str) -> int:
    """Least number of inserted, deleted or replaced characters that turn one text into the other."""
    above = list(range(len(right) + 1))
    for row, a in enumerate(left, 1):
        current = [row]
        for column, b in enumerate(right, 1):
            current.append(min(above[column] + 1, current[-1] + 1, above[column - 1] + (a != b)))
        above = current
    return above[-1]


_REQUIRED = "required"


def _default_text(info: FieldInfo) -> str:
    if info.is_required():
        return _REQUIRED
    value = info.get_default(call_default_factory=True, validated_data={})
    match value:
        case None | "" | SecretStr():
            return "none"
        case bool():
            return "1" if value else "0"
        case _:
            return str(value)


def _explained(cls: type[Settings], error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        where = problem["loc"]
        field = _field_called(cls, str(where[0]) if where else "")
        info = cls.model_fields.get(field)
        name = " or ".join(_variables(cls, field, info)) if info is not None else field or cls.__name__
        hint = f" ({info.description})" if info is not None and info.description else ""
        if problem["type"] == "missing":
            lines.append(f"{name} is not set: set it{hint}")
        else:
            lines.append(f"{name} is wrong: {problem['msg'].removeprefix('Value error, ')}{hint}")
    return "\n".join(lines)


def _field_called(cls: type[Settings], name: str) -> str:
    """The field that pydantic calls `name`: by itself, or by the first variable of those that it may be read from."""
    for field, info in cls.model_fields.items():
        if name in (field, *_variables(cls, field, info)):
            return field
    return name


def _variables(cls: type[Settings], field: str, info: FieldInfo) -> list[str]:
    """The variables a field is read from, the one to be named in messages first."""
    alias = info.validation_alias
    if isinstance(alias, str):
        return [alias]
    if isinstance(alias, AliasChoices):
        return [choice for choice in alias.choices if isinstance(choice, str)]
    prefix = str(cls.model_config.get("env_prefix", PREFIX))
    return [f"{prefix}{field}".upper()]
