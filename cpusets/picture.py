"""A picture of a node as SVG: packages, NUMA nodes, caches and cores, PUs coloured by rank."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from cpusets.cpuset import CpuSet
from cpusets.devices import Device
from cpusets.job import PlannedNode
from cpusets.topology import Topology

# Lengths in SVG units, which browsers show as pixels.
_PU_WIDTH, _PU_HEIGHT = 30, 28
_PAD, _TITLE, _GAP = 6, 15, 6
_PAGE_WIDTH = 1200
_LEVELS = ("package", "numa", "l3", "core")
_NAMES = {"package": "Package", "numa": "NUMA", "l3": "L3"}
_FILL = {"package": "#eef0f2", "numa": "#e0e5ea", "l3": "#d2d9e0", "core": "#bcc5ce"}
_FREE, _FORBIDDEN = "#ffffff", "#8a9199"


@dataclass(frozen=True, slots=True)
class _Box:
    """A drawn rectangle with everything in it, positioned relative to its own corner."""

    width: float
    height: float
    svg: str


@dataclass(frozen=True, slots=True)
class _Scene:
    topology: Topology
    allowed: CpuSet
    owners: Mapping[int, tuple[int, ...]]
    """PU → ranks that may run there."""
    colours: Mapping[int, str]


def draw(planned: PlannedNode) -> str:
    """The node with its ranks. A PU shows its rank above and its OS index, smaller, below."""
    placements = planned.plan.placements
    owners: dict[int, tuple[int, ...]] = {}
    for placement in placements:
        for cpu in placement.cpus:
            owners[cpu] = (*owners.get(cpu, ()), placement.rank)
    ranks = [placement.rank for placement in placements]
    scene = _Scene(planned.node.topology, planned.node.allowed, owners, _colours(ranks))
    title = (
        f"{planned.node.name}: {len(ranks)} ranks on {len(planned.node.allowed)} CPUs "
        "(above: rank; below: CPU by the operating system's number)"
    )
    machine = _domain(scene, planned.node.topology.complete, 0, _PAGE_WIDTH - 2 * _PAD)
    devices = _devices(scene, {p.rank: p.gpus for p in placements})
    body = _stack([_text_box(title, 15), machine, devices, _legend(scene, planned)])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{body.width + 2 * _PAD:g}" '
        f'height="{body.height + 2 * _PAD:g}" font-family="sans-serif">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n'
        f"{_moved(body, _PAD, _PAD)}</svg>\n"
    )


def _colours(ranks: Sequence[int]) -> dict[int, str]:
    """Light colours of which neighbours differ: the hue turns by the golden angle."""
    colours = {}
    for position, rank in enumerate(ranks):
        lightness = (0.72, 0.82, 0.62)[position % 3]
        red, green, blue = colorsys.hls_to_rgb(position * 0.381966 % 1, lightness, 0.7)
        colours[rank] = f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"
    return colours


def _domain(scene: _Scene, cpus: CpuSet, level: int, width: float) -> _Box:
    """The CPUs of one object, divided by the next levels that divide them."""
    if level == len(_LEVELS):
        return _flow([_pu(scene, cpu) for cpu in _in_order(scene.topology, cpus)], 1e9, gap=0)
    kind = _LEVELS[level]
    objects = scene.topology.spanned(kind, cpus)
    if not objects or (kind == "l3" and len(objects) == 1 and cpus <= objects[0].cpus):
        return _domain(scene, cpus, level + 1, width)
    inner = width if kind == "core" else width - 2 * _PAD
    boxes, rest = [], cpus
    for obj in objects:
        if obj.cpus & rest:
            content = _domain(scene, obj.cpus & rest, level + 1, inner)
            number = obj.os_index if kind == "numa" else obj.logical_index
            boxes.append(_framed(content, kind, f"{_NAMES.get(kind, '')} {number}".strip()))
            rest = rest - obj.cpus
    if rest:
        boxes.append(_domain(scene, rest, level + 1, inner))
    return _flow(boxes, width, gap=_GAP)


def _in_order(topology: Topology, cpus: CpuSet) -> list[int]:
    return sorted(cpus, key=lambda cpu: topology.pu_order.get(cpu, cpu))


def _pu(scene: _Scene, cpu: int) -> _Box:
    ranks = scene.owners.get(cpu, ())
    fill = scene.colours[ranks[0]] if ranks else _FREE
    if cpu not in scene.allowed:
        fill = _FORBIDDEN
    who = f"ranks {', '.join(map(str, ranks))}" if ranks else "free"
    label = "" if not ranks else f"{ranks[0]}" + ("+" if len(ranks) > 1 else "")
    mark = "" if len(ranks) < 2 else (
        f'<path d="M{_PU_WIDTH - 8} 0h8v8z" fill="#c00000"/>'
    )  # fmt: skip
    middle = _PU_WIDTH / 2
    svg = (
        f'<g><title>CPU {cpu}: {who}</title><rect width="{_PU_WIDTH}" height="{_PU_HEIGHT}" '
        f'fill="{fill}" stroke="#5b6670" stroke-width="0.6"/>'
        f'<text x="{middle}" y="13" font-size="12" text-anchor="middle">{label}</text>'
        f'<text x="{middle}" y="24" font-size="9" text-anchor="middle" fill="#39424a">{cpu}</text>'
        f"{mark}</g>\n"
    )
    return _Box(_PU_WIDTH, _PU_HEIGHT, svg)


def _framed(content: _Box, kind: str, title: str) -> _Box:
    pad, top = (2.0, 2.0) if kind == "core" else (float(_PAD), float(_TITLE + 2))
    width, height = content.width + 2 * pad, content.height + top + pad
    label = "" if kind == "core" else f'<text x="{pad}" y="13" font-size="11">{title}</text>'
    svg = (
        f'<rect width="{width:g}" height="{height:g}" rx="3" fill="{_FILL[kind]}" '
        f'stroke="#9aa5af" stroke-width="0.6"/>{label}\n{_moved(content, pad, top)}'
    )
    return _Box(width, height, svg)


def _flow(boxes: Sequence[_Box], width: float, *, gap: float) -> _Box:
    """Boxes side by side, in rows no wider than `width`."""
    parts: list[str] = []
    x = y = row = widest = 0.0
    for box in boxes:
        if x and x + box.width > width:
            x, y, row = 0.0, y + row + gap, 0.0
        parts.append(_moved(box, x, y))
        x, row = x + box.width + gap, max(row, box.height)
        widest = max(widest, x - gap)
    return _Box(widest, y + row, "".join(parts))


def _stack(boxes: Sequence[_Box]) -> _Box:
    parts, y = [], 0.0
    for box in boxes:
        parts.append(_moved(box, 0, y))
        y += box.height + (_GAP if box.height else 0)
    return _Box(max(box.width for box in boxes), y, "".join(parts))


def _moved(box: _Box, x: float, y: float) -> str:
    return f'<g transform="translate({x:g} {y:g})">{box.svg}</g>\n'


def _text_box(text: str, size: int) -> _Box:
    svg = f'<text y="{size}" font-size="{size}">{escape(text)}</text>'
    return _Box(len(text) * size * 0.6, size + 4, svg)


def _devices(scene: _Scene, gpus: Mapping[int, Sequence[Device]]) -> _Box:
    boxes = []
    for gpu in dict.fromkeys(gpu for mine in gpus.values() for gpu in mine):
        ranks = [rank for rank, mine in gpus.items() if gpu in mine]
        words = f"{gpu.name} {gpu.pci or ''} rank {', '.join(map(str, ranks))}"
        boxes.append(_chip(scene.colours[ranks[0]], words))
    return _flow(boxes, _PAGE_WIDTH - 2 * _PAD, gap=_GAP)


def _legend(scene: _Scene, planned: PlannedNode) -> _Box:
    boxes = [
        _chip(scene.colours[p.rank], f"rank {p.rank}: {p.cpus}") for p in planned.plan.placements
    ]
    boxes.append(_chip(_FREE, "free"))
    if not planned.node.topology.complete <= scene.allowed:
        boxes.append(_chip(_FORBIDDEN, "not allowed"))
    return _flow(boxes, _PAGE_WIDTH - 2 * _PAD, gap=_GAP)


def _chip(fill: str, text: str) -> _Box:
    shown = text if len(text) <= 60 else text[:59] + "…"
    width = 20 + len(shown) * 6.6
    svg = (
        f'<rect y="2" width="14" height="14" fill="{fill}" stroke="#5b6670" stroke-width="0.6"/>'
        f'<text x="18" y="13" font-size="11">{escape(shown)}</text>'
    )
    return _Box(width, 18, svg)
