"""``shim cluster``: a private Slurm cluster on this machine."""

from __future__ import annotations

import argparse
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shim.errors import ShimError

if TYPE_CHECKING:
    from testbed import Cluster

_EXAMPLES = """\
examples:
  shim cluster up                                  two nodes with this machine's CPUs
  shim cluster up --nodes 4 --cpus 64              four nodes with 64 invented CPUs each
  shim cluster up --name old --suite bookworm      a second cluster, with Slurm 22.05
  shim cluster up --slurm-conf PrologFlags=Contain
  shim cluster exec -- srun --mpi=pmix -N2 -n4 hostname
  shim cluster exec --user root --node n1 -- bash
  shim cluster logs n1 -f
  shim cluster down
"""


def add_parser(subparsers: Any) -> None:
    """Add the command ``cluster`` to what ``ArgumentParser.add_subparsers`` returned."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "cluster",
        help="a private Slurm cluster on this machine (root)",
        description="A private Slurm cluster in namespaces of this machine: a head node, compute "
        "nodes, two users (demo, other), /home and /shared common to all. Needs root.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="cluster_action", metavar="ACTION", required=True)
    _add_up(actions)
    status = _action(actions, "status", _status, "show the nodes and what Slurm says of them")
    status.add_argument("--name", help="which cluster (default: every one that is up)")
    _add_exec(actions)
    logs = _action(actions, "logs", _logs, "show the log of a node's Slurm daemon")
    logs.add_argument("node", nargs="?", default="head", help="head (default), n1, n2, …")
    logs.add_argument("-f", "--follow", action="store_true", help="go on with what is written")
    _add_name(logs)
    down = _action(actions, "down", _down, "end the cluster; nothing of it stays")
    which = down.add_mutually_exclusive_group()
    _add_name(which)
    which.add_argument("--all", action="store_true", help="end every cluster of this machine")


def run(args: argparse.Namespace) -> int:
    """Carry out a parsed ``shim cluster`` command; its exit code."""
    action: Callable[[argparse.Namespace], int] = args.cluster_run
    return action(args)


def _action(
    actions: Any, name: str, function: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=text, description=text + ".")
    parser.set_defaults(cluster_run=function)
    return parser


def _add_name(parser: Any) -> None:
    parser.add_argument("--name", default="shim", help="which cluster (default: shim)")


def _add_up(actions: Any) -> None:
    up = _action(actions, "up", _up, "bring the cluster up; update shim in one that is up")
    _add_name(up)
    up.add_argument("--nodes", type=int, default=2, metavar="N", help="compute nodes (default: 2)")
    up.add_argument(
        "--cpus",
        type=_cpus,
        default="auto",
        metavar="auto|N",
        help="CPUs per node: this machine's (auto), or N invented ones, without binding",
    )
    up.add_argument(
        "--suite",
        default="trixie",
        help="Debian suite of the nodes: trixie (Slurm 24.11, MPI, Apptainer; default), "
        "bookworm (Slurm 22.05) or sid (Slurm 26.05)",
    )
    up.add_argument(
        "--slurm-conf",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a line of slurm.conf, in place of the default of that key (repeatable)",
    )


def _add_exec(actions: Any) -> None:
    command = _action(actions, "exec", _exec, "run a command on a node; its exit code")
    _add_name(command)
    command.add_argument("--user", default="demo", choices=("demo", "other", "root"))
    command.add_argument("--node", default="head", help="head (default), n1, n2, …")
    command.add_argument("argv", nargs="+", metavar="CMD", help="after --, the command")


def _cpus(text: str) -> int | str:
    if text == "auto":
        return text
    if text.isascii() and text.isdigit():
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is neither auto nor a number")


def _up(args: argparse.Namespace) -> int:
    from testbed import Cluster
    from testbed.progress import steps_for_stderr

    # As ^C does: what is half up is taken down again.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    cluster = Cluster.up(
        args.name,
        args.nodes,
        args.cpus,
        args.suite,
        args.slurm_conf,
        steps=steps_for_stderr(),
    )
    named = "" if args.name == "shim" else f" --name {args.name}"
    ssh = shlex.quote(str(cluster.ssh_config))
    print(f"The cluster {cluster.name!r} is up: head, {', '.join(cluster.nodes)}.")
    print(f"  run a job      shim cluster exec{named} -- srun -N{len(cluster.nodes)} hostname")
    print(f"  log in         shim cluster exec{named} -- bash -l    (or: ssh -F {ssh} head)")
    print(f"  share files    {cluster.shared} is /shared on every node")
    print(f"  end it         shim cluster down{named}")
    return 0


def _status(args: argparse.Namespace) -> int:
    from testbed import Cluster
    from testbed.state import cluster_names

    if args.name:
        return _show(Cluster.attach(args.name))
    names = cluster_names()
    if not names:
        print("No cluster is up. Bring one up with: shim cluster up")
        return 1
    worst = 0
    for name in names:
        try:
            worst = max(worst, _show(Cluster.attach(name)))
        except ShimError as error:
            # One that is just coming, going, or has died must not hide the others.
            print(error.message)
            worst = 1
    return worst


def _show(cluster: Cluster) -> int:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"cluster {cluster.name} ({cluster.spec.suite})", title_justify="left")
    for column in ("node", "address", "state", "Slurm"):
        table.add_column(column)
    nodes = cluster.status()
    for node in nodes:
        table.add_row(node.node, node.address, "up" if node.alive else "dead", node.slurm)
    Console().print(table)
    return 0 if all(node.alive for node in nodes) else 1


def _exec(args: argparse.Namespace) -> int:
    from testbed import Cluster, NodeProcess

    command = Cluster.attach(args.name).command(args.argv, args.user, args.node)
    # The terminal and the process group are the caller's: keys like ^C reach the command
    # directly, and it decides what they mean; those who wait for it ignore them.
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    with NodeProcess(command, text=True) as process:
        # What is sent to this process alone is passed on.
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, lambda sent, _frame: process.send_signal(sent))
        status = process.wait()
    return status if status >= 0 else 128 - status


def _logs(args: argparse.Namespace) -> int:
    from testbed import Cluster

    log = Cluster.attach(args.name).log(args.node)
    if not args.follow:
        sys.stdout.write(log.read_text(errors="replace"))
        return 0
    sys.stdout.flush()
    try:
        return subprocess.run(["tail", "-n", "+1", "-F", str(log)], check=False).returncode
    except KeyboardInterrupt:
        return 0


def _down(args: argparse.Namespace) -> int:
    from testbed.lifecycle import take_down, take_down_all

    if args.all:
        names = take_down_all()
        print(f"Ended: {', '.join(names)}." if names else "No cluster was up.")
        return 0
    if take_down(args.name):
        print(f"The cluster {args.name!r} has ended.")
    else:
        print(f"No cluster named {args.name!r} was up.")
    return 0
