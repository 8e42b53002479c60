"""The option table and the wire's constants as a C header (pure)."""

from __future__ import annotations

from shim.option_table import TABLE, Option
from shim.ticket_wire import MAX_FRAME, PROTOCOL, Kind, Tag


def header() -> str:
    """The text of shim_options.h."""
    return "\n".join(
        [
            "/* Generated from shim/option_table.py and shim/ticket_wire.py. */",
            "#ifndef SHIM_OPTIONS_H",
            "#define SHIM_OPTIONS_H",
            f"#define SHIM_PROTOCOL {PROTOCOL}u",
            f"#define SHIM_MAX_FRAME {MAX_FRAME}u",
            _enum("shim_kind", "KIND", Kind),
            _enum("shim_tag", "TAG", Tag),
            "enum option_value { VALUE_NONE, VALUE_REQUIRED, VALUE_OPTIONAL };",
            "enum option_use { USE_RUNTIME, USE_OWN, USE_REFUSED, USE_NETWORK };",
            "struct option_row {",
            "    const char *name;",
            "    char letter;",
            "    unsigned char value, use;",
            "    const char *reason;",
            "};",
            "static const struct option_row option_table[] = {",
            *map(_row, TABLE),
            "};",
            "#endif",
            "",
        ]
    )


def _enum(name: str, prefix: str, members: type[Kind] | type[Tag]) -> str:
    body = ", ".join(f"{prefix}_{member.name} = {member.value}" for member in members)
    return f"enum {name} {{ {body} }};"


def _row(option: Option) -> str:
    letter = f"'{option.letter}'" if option.letter else "0"
    reason = option.reason.replace("\\", "\\\\").replace('"', '\\"')
    return f'    {{"{option.name}", {letter}, {int(option.value)}, {int(option.use)}, "{reason}"}},'
