"""`shim map`: who would sit where, on this or any described machine, without running anything."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cpusets import CpuSet, CpusetsError, Topology, get_affinity
from cpusets.job import JobPlan, Node, plan_job, plan_rankfile
from cpusets.maptable import diff_table, plan_table
from cpusets.options import MappingOptions, request_on
from cpusets.outputs import openmp_lines, rankfile, slurm_bindings, to_json
from cpusets.picture import draw
from cpusets.rankfile import parse_rankfile
from shim.errors import ShimError

if TYPE_CHECKING:
    from shim.cli import Subparsers

EPILOG = """examples:
  shim map -n 8 --threads 4 --topology machine.xml
  shim map -n 16 --nodes 2 --topology "pack:2 numa:4 core:8 pu:2" --map-by l3 --bind-to core
  shim map -n 8 --topology machine.xml --gpus-per-rank 1 --output slurm
  shim map -n 8 --diff "--map-by core" "--map-by numa"
  shim map -n 8 --topology machine.xml --output svg -o node.svg

docs/mapping.md says what each word means.
"""


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "map",
        help="show who would sit where, without running anything",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EPILOG,
    )
    _add_machine(parser)
    _add_mapping(parser)
    out = parser.add_argument_group("output")
    out.add_argument("--output", choices=sorted(_FORMS), default="table", help="default: table")
    out.add_argument("-o", "--file", type=Path, metavar="FILE", help="write there")
    out.add_argument(
        "--diff",
        nargs=2,
        metavar=("A", "B"),
        help="compare two requests: options (quoted) that are added to the others",
    )


def _add_machine(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("job and machine")
    group.add_argument("-n", "--ntasks", type=int, metavar="N", help="ranks of the job")
    group.add_argument("--ppn", type=int, metavar="N", help="ranks per node, nodes filled in turn")
    group.add_argument("--nodes", type=int, default=1, metavar="N", help="nodes of this kind")
    group.add_argument(
        "--topology",
        action="append",
        metavar="XML|TEXT",
        help="a file of lstopo, or a synthetic string (default: this machine); again for nodes "
        "of another kind",
    )
    group.add_argument("--allowed", metavar="LIST", help="CPUs that the job has, by OS number")


def _add_mapping(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("mapping")
    group.add_argument("--map-by", default="auto", metavar="HOW", help="auto, slot, node, package, "
                       "numa, l3, l2, core, hwthread, ppr:N:OBJECT, dist:DEVICE")  # fmt: skip
    group.add_argument("--rank-by", metavar="HOW", help="slot, fill, span, node")
    group.add_argument("--bind-to", metavar="WHAT", help="none, hwthread, core, l2, l3, numa, "
                       "package (default: the rank's share)")  # fmt: skip
    group.add_argument("-c", "--cpus-per-rank", type=int, metavar="N", help="cores per rank")
    group.add_argument("-t", "--threads", type=int, metavar="N", help="OpenMP threads per rank")
    group.add_argument("--smt", type=int, metavar="K", help="hardware threads used per core")
    group.add_argument("--reserve", metavar="WHAT", help="cores kept free: N, N:l3, cpus:LIST")
    group.add_argument("--gpus-per-rank", default="0", metavar="N", help="a number, or 1/k")
    group.add_argument("--device-order", choices=["nearest"], default="nearest",
                       help="which GPUs a rank gets")  # fmt: skip
    group.add_argument("--mem-bind", default="none", metavar="POLICY",
                       help="none, local, bind, preferred, interleave")  # fmt: skip
    group.add_argument("--cpu-bind", metavar="LIST", help="map_cpu:, mask_cpu:, list:, cores:")
    group.add_argument("--rankfile", type=Path, metavar="FILE", help="rank file, replaces -n")
    group.add_argument("--oversubscribe", action="store_true", help="allow more ranks than CPUs")


def run(args: argparse.Namespace) -> int:
    try:
        nodes = _nodes(args)
        text = _diff(args, nodes) if args.diff else _FORMS[args.output](_plan(args, nodes))
    except CpusetsError as error:
        raise ShimError(error.message, error.hint) from error
    if args.file is None:
        sys.stdout.write(text)
    else:
        args.file.write_text(text, encoding="utf-8")
    return 0


def _nodes(args: argparse.Namespace) -> list[Node]:
    if args.nodes < 1:
        raise ShimError(f"A job on {args.nodes} nodes is none.", "Ask for at least one.")
    kinds = [_topology(text) for text in args.topology or [None]]
    nodes = []
    for kind, topology in enumerate(kinds):
        if args.allowed is not None:
            allowed = CpuSet.parse(args.allowed)
        else:
            allowed = topology.allowed if args.topology else get_affinity()
        for number in range(args.nodes):
            nodes.append(Node(f"n{kind * args.nodes + number}", topology, allowed))
    return nodes


def _topology(text: str | None) -> Topology:
    if text is None:
        return Topology.from_system(devices=True)
    if Path(text).exists() or text.endswith(".xml"):
        return Topology.from_xml(text)
    return Topology.from_synthetic(text)


def _plan(args: argparse.Namespace, nodes: Sequence[Node]) -> JobPlan:
    options = _options(args)
    first = nodes[0]
    if args.rankfile is not None:
        lines = parse_rankfile(_read(args.rankfile))
        return plan_rankfile(nodes, lines, request_on(options, first.topology, first.allowed))
    if args.ntasks is None:
        raise ShimError("How many ranks to map was not said.", "Add -n N, or --rankfile FILE.")
    if options.cpu_bind is not None and len(nodes) > 1:
        raise ShimError(
            "An explicit list describes one node.", "Use --rankfile for a job of several nodes."
        )
    ranks = range(args.ntasks) if options.cpu_bind is not None else ()
    request = request_on(options, first.topology, first.allowed, ranks)
    return plan_job(nodes, args.ntasks, request, ranks_per_node=args.ppn)


def _options(args: argparse.Namespace) -> MappingOptions:
    return MappingOptions(
        map_by=args.map_by,
        rank_by=args.rank_by,
        bind_to=args.bind_to,
        cpus_per_rank=args.cpus_per_rank,
        threads=args.threads,
        smt=args.smt,
        reserve=args.reserve,
        gpus_per_rank=args.gpus_per_rank,
        mem_bind=args.mem_bind,
        cpu_bind=args.cpu_bind,
        oversubscribe=args.oversubscribe,
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ShimError(
            f"The rank file {path} cannot be read: {error}.", "Check the path."
        ) from error


def _diff(args: argparse.Namespace, nodes: Sequence[Node]) -> str:
    plans = []
    for words in args.diff:
        parser = argparse.ArgumentParser(prog="shim map --diff", add_help=False)
        _add_machine(parser)
        _add_mapping(parser)
        side = parser.parse_args(shlex.split(words), argparse.Namespace(**vars(args)))
        plans.append(_plan(side, nodes))
    return diff_table(plans[0], plans[1])


def _slurm(plan: JobPlan) -> str:
    bindings = slurm_bindings(plan)
    if len(set(bindings.values())) == 1:
        return f"--cpu-bind={next(iter(bindings.values()))}\n"
    return "".join(f"{node}: --cpu-bind={text}\n" for node, text in bindings.items())


_FORMS: dict[str, Callable[[JobPlan], str]] = {
    "table": plan_table,
    "json": to_json,
    "slurm": _slurm,
    "rankfile": rankfile,
    "openmp": openmp_lines,
    "svg": lambda plan: draw(plan.nodes[0]),
}
"""Output form → what writes it."""
