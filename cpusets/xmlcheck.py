"""Look at an XML file before hwloc does: is it well-formed, and in a dialect of hwloc 1 or 2?

hwloc's built-in parser reads what hwloc itself wrote and is lenient about everything else, so
damaged files are found here, where a sentence can be said about them.
"""

from __future__ import annotations

from xml.parsers import expat

from cpusets.errors import TopologyError

_HINT = "Export it again with `lstopo --of xml FILE` of hwloc 2."
# hwloc follows a null pointer where an object has one of these but not its complete_ twin
# (seen with 2.9 when a damaged file was loaded).
_SETS = ("cpuset", "nodeset")
_ROOTS = {"topology", "root"}  # hwloc < 1.0 wrote <root>


def check_dialect(content: bytes, path: str) -> None:
    """Raise TopologyError unless `content` is a well-formed hwloc XML that version 2 reads."""
    root: list[tuple[str, dict[str, str]]] = []
    incomplete: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        if not root:
            root.append((name, attributes))
        for sets in _SETS if name == "object" else ():
            if sets in attributes and f"complete_{sets}" not in attributes:
                incomplete.append(
                    f"{attributes.get('type', name)} in line "
                    f"{parser.CurrentLineNumber} has no complete_{sets}"
                )

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise TopologyError(f"{path} is not well-formed XML: {error}.", _HINT) from error
    except LookupError as error:
        raise TopologyError(f"{path} is in an unknown encoding: {error}.", _HINT) from error
    name, attributes = root[0]
    if name not in _ROOTS:
        raise TopologyError(f"{path} is XML but no hwloc topology: its root is <{name}>.", _HINT)
    major = attributes.get("version", "1").split(".")[0]
    if major not in {"1", "2"}:
        raise TopologyError(
            f"{path} is in the XML dialect {attributes['version']} of a newer hwloc, "
            "which hwloc 2 cannot read.",
            "Export it with hwloc 2, or with hwloc 3 in the dialect of version 2.",
        )
    if incomplete:
        raise TopologyError(f"{path} is damaged: the {incomplete[0]}.", _HINT)
