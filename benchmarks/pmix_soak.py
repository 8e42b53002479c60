"""Two copies of libpmix in one process over many launches and fences: rate, memory, descriptors.

    python benchmarks/pmix_soak.py [--launches 100] [--fences 10000] [--ranks 2] [--forks 0]

Two agents of one machine, each a client of the same launcher and a server of half of the ranks;
every fence crosses both. With --forks, each launch is followed by one of a program that forks.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from pmix_server.library import CLIENT_VARIABLE, SERVER_VARIABLE  # noqa: E402
from tests.pmix_server import programs  # noqa: E402


@dataclass(frozen=True)
class Soak:
    """What one agent went through. Memory is VmRSS in KiB."""

    fences: int
    seconds: float
    first_kib: int
    settled_kib: int
    last_kib: int
    descriptors_grown: int
    bad: tuple[str, ...]

    @property
    def grown_kib(self) -> int:
        """Growth after the first fifth of the launches, when caches and arenas are filled."""
        return self.last_kib - self.settled_kib


def read(report: dict[str, Any]) -> Soak:
    memory = [kib for kib, _ in report["samples"]]
    descriptors = [count for _, count in report["samples"]]
    settled = len(memory) // 5
    return Soak(
        report["fences"],
        report["seconds"],
        memory[0],
        memory[settled],
        memory[-1],
        descriptors[-1] - descriptors[settled],
        tuple(report["bad"]),
    )


def run(
    command: list[str], *, launches: int, ranks: int, server: str, client: str, limit: float
) -> list[Soak]:
    """Run both agents under a launcher of ours; what each went through.

    Args:
        command: of the ranks, with the path of the C client left out.
        limit: seconds for everything.
    """
    with tempfile.TemporaryDirectory() as directory:
        built = programs.build(Path(directory))
        agent = [sys.executable, "-X", "faulthandler", "-m", "tests.pmix_server.soak_agent"]
        result = programs.serve(
            {
                "nodes": [["launcher", [0, 1]]],
                "tmpdir": f"{directory}/launcher",
                "limit": limit,
                "env": {
                    "PYTHONPATH": str(ROOT),
                    SERVER_VARIABLE: str(programs.LIBRARIES[server]),
                    CLIENT_VARIABLE: str(programs.LIBRARIES[client]),
                },
                "command": [*agent, str(launches), str(ranks), str(built.ranks), *command],
            }
        )
    problems = programs.failures(result)
    if problems:
        raise SystemExit("\n".join(problems))
    return [read(json.loads(rank["out"])) for rank in result["ranks"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--launches", type=int, default=100)
    parser.add_argument("--fences", type=int, default=10_000, help="in all launches together")
    parser.add_argument("--ranks", type=int, default=2, help="per agent")
    parser.add_argument("--forks", type=int, default=0, help="per launch of a program that forks")
    parser.add_argument("--server", choices=programs.LIBRARIES, default="debian")
    parser.add_argument("--client", choices=programs.LIBRARIES, default="debian")
    args = parser.parse_args()
    command = ["fences", str(args.fences // args.launches)]
    if args.forks:
        command = ["forks", str(args.forks)]
    soaks = run(
        command,
        launches=args.launches,
        ranks=args.ranks,
        server=args.server,
        client=args.client,
        limit=3600,
    )
    print(f"{args.launches} launches of `{' '.join(command)}`, {args.ranks} ranks per agent,")
    print(f"server {args.server}, client {args.client}")
    print("agent  fences  fences/s  RSS first  settled  last (KiB)  fds grown  failed ranks")
    for index, soak in enumerate(soaks):
        print(
            f"{index:5}  {soak.fences:6}  {soak.fences / soak.seconds:8.0f}  {soak.first_kib:9}  "
            f"{soak.settled_kib:7}  {soak.last_kib:10}  {soak.descriptors_grown:9}  "
            f"{len(soak.bad):12}"
        )
    if any(soak.bad for soak in soaks):
        raise SystemExit(next(soak.bad[0] for soak in soaks if soak.bad))


if __name__ == "__main__":
    main()
