"""Reference pages of the documentation site, generated from the code: commands and options, JSON result, public names.

``python -m tools.reference FOLDER`` writes options.md, json.md and api.md.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from harness.cli import COMMANDS, cli
from harness.report.schema import schema

PUBLIC = ("harness", "harness.testing")
# Importing these imports Locust, which patches the process; their page is docs/swarm.md.
SWARM = """
## harness.swarm

`SseUser` and `StreamFailed`, for locustfiles: [Clients of your own](../swarm.md). `import harness.swarm.web` adds a tab
with the target to Locust's web UI.
"""


def cell(text: object) -> str:
    """Text for a cell of a Markdown table."""
    return re.sub(r"\s+", " ", str(text)).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").strip()


def option_rows(command: click.Command, context: click.Context) -> Iterator[str]:
    """One row per option and argument of a command."""
    for each in command.params:
        if isinstance(each, click.Argument):
            yield f"| `{each.make_metavar(context)}` | | |"
        elif isinstance(each, click.Option) and not each.hidden:
            names = ", ".join([*each.opts, *each.secondary_opts])
            value = "" if each.is_flag else f" {each.make_metavar(context)}"
            shown = each.show_default if isinstance(each.show_default, str) else each.default
            default = f"`{cell(shown)}`" if each.show_default and shown not in (None, (), False, "") else ""
            text = each.help or ""
            repeatable = " Repeatable." if each.multiple and "repeat" not in text.lower() else ""
            yield f"| `{cell(names + value)}` | {default} | {cell(text)}{repeatable} |"


def command_lines(
    name: str, command: click.Command, parent: click.Context | None, level: int
) -> Iterator[str]:
    """The section of a command and those of its subcommands."""
    context = click.Context(command, parent=parent, info_name=name.rpartition(" ")[2])
    yield f"\n{'#' * level} {name}\n"
    yield re.sub(r"(?m)^[ \t]+", "", inspect.cleandoc(command.help or "")).replace("\b\n", "").strip() + "\n"
    yield f"```text\n{command.get_usage(context).removeprefix('Usage: ')}\n```\n"
    rows = list(option_rows(command, context))
    if rows:
        yield from ("| option | default | for |", "|---|---|---|", *rows)
    if isinstance(command, click.Group):
        for sub in command.list_commands(context):
            found = command.get_command(context, sub)
            assert found is not None
            yield from command_lines(f"{name} {sub}", found, context, level + 1)


def options_page() -> str:
    """Every command with its options, as its own --help has them."""
    parent = click.Context(cli, info_name="harness")
    lines = [
        "# Commands and options\n",
        "Generated from the commands' own help.\n",
        "| command | for |",
        "|---|---|",
    ]
    lines += [f"| [`harness {name}`](#harness-{name}) | {cell(text)} |" for name, text in COMMANDS.items()]
    for name in COMMANDS:
        command = cli.get_command(parent, name)
        assert command is not None
        lines += command_lines(f"harness {name}", command, parent, 2)
    return "\n".join(lines) + "\n"


def type_of(value: Mapping[str, Any]) -> str:
    """A schema in a few words, with links to the definitions."""
    if "$ref" in value:
        name = str(value["$ref"]).rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in value:
        return " or ".join(f"`{each}`" for each in value["enum"])
    if "const" in value:
        return f"`{value['const']}`"
    for several in ("anyOf", "oneOf"):
        if several in value:
            return " or ".join(type_of(each) for each in value[several])
    kind = value.get("type", "any")
    names = " or ".join(kind) if isinstance(kind, list) else str(kind)
    if "items" in value:
        return f"list of {type_of(value['items'])}"
    if isinstance(value.get("additionalProperties"), dict):
        return f"object of {type_of(value['additionalProperties'])}"
    return names


def object_lines(name: str, value: Mapping[str, Any], level: int) -> Iterator[str]:
    """The members of one object."""
    yield f"\n{'#' * level} {name}\n"
    if text := value.get("description"):
        yield f"{cell(text)}\n"
    if members := value.get("properties"):
        needed = set(value.get("required", ()))
        yield from ("| member | type | always there | meaning |", "|---|---|---|---|")
        for member, kind in members.items():
            there = "yes" if member in needed else ""
            yield f"| `{member}` | {type_of(kind)} | {there} | {cell(kind.get('description', ''))} |"
    else:
        yield type_of(value) + "\n"


def json_page() -> str:
    """What --json writes, from the schema that ``harness schema`` prints."""
    whole = schema()
    lines = [
        "# JSON result\n",
        "`--json FILE` and `--format json` write this. `harness schema` prints the JSON Schema.\n",
    ]
    lines += object_lines("The document", whole, 2)
    for name, value in whole["$defs"].items():
        lines += object_lines(name, value, 2)
    return "\n".join(lines) + "\n"


def api_page() -> str:
    """Every public name with its signature and docstring."""
    lines = ["# Public names\n", "Import only these. Everything else may change in any release.\n"]
    for module in PUBLIC:
        lines.append(f"\n## {module}\n")
        found = import_module(module)
        for name in found.__all__:
            value = getattr(found, name)
            if name.startswith("_"):
                continue
            lines.append(f"\n### {module}.{name}\n")
            try:
                signature = str(inspect.signature(value))
            except (TypeError, ValueError):
                signature = ""
            if signature and not issubclass(value if inspect.isclass(value) else object, BaseException):
                lines.append(f"```python\n{name}{signature}\n```\n")
            doc = inspect.cleandoc(value.__doc__ or "")
            lines.append(f"```text\n{doc}\n```\n")
    return "\n".join(lines) + SWARM


PAGES = {"options.md": options_page, "json.md": json_page, "api.md": api_page}


def main(folder: Path) -> None:
    """Write every page."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (folder / name).write_text(page())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
