"""What the guard started this agent with."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from shim.options import ExecOptions, parse_exec

if TYPE_CHECKING:
    from pmix_server.upstream import Mode
    from shim.run.spec import RunSpec

VOICE_VARIABLE = "SHIM_VOICE_FD"
"""Set by the guard for the agent alone."""


@dataclass(frozen=True)
class Settings:
    """The agent's own arguments (c_ext/frontend/agent_process.c writes them)."""

    listen_fd: int
    """Listening unix socket on which the ranks' front-ends wait."""
    guard_fd: int
    """Pipe to the guard."""
    run_dir: Path
    """Directory of this step on this node, mode 0700."""
    key: str
    voice_fd: int
    """The user's standard error."""
    options: ExecOptions | None
    """`shim exec`: the options of the front-end that started this agent."""
    spec: RunSpec | None
    """`shim run`: the whole job."""

    @property
    def pmix_mode(self) -> Mode:
        if self.options:
            return cast("Mode", self.options.pmix_mode)
        return cast("Mode", self.spec.pmix_mode) if self.spec else "auto"

    @property
    def first_container(self) -> ExecOptions | None:
        """The container that is wanted first, if any is."""
        if self.options or not self.spec:
            return self.options
        return next((app.exec_options for app in self.spec.apps if not app.native), None)

    @property
    def start_timeout(self) -> float:
        """Seconds to wait for container and peers."""
        return self.options.start_timeout if self.options else ExecOptions.start_timeout

    @property
    def verbose(self) -> bool:
        if self.options:
            return self.options.verbose
        apps = self.spec.apps if self.spec else ()
        return any(app.exec_options.verbose for app in apps if not app.native)

    @property
    def report_to(self) -> str | None:
        """None: no report of bindings; "": to standard error; else a file."""
        if self.options:
            return self.options.report_bindings
        return self.spec.report_bindings if self.spec else None


def read_settings(argv: Sequence[str], env: Mapping[str, str]) -> Settings:
    """Read the arguments; what follows `--` are the words of `shim exec`."""
    parser = argparse.ArgumentParser(prog="shim-agent", add_help=False)
    parser.add_argument("--listen-fd", type=int, required=True)
    parser.add_argument("--guard-fd", type=int, required=True)
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("words", nargs=argparse.REMAINDER)
    args = parser.parse_args(argv)
    words = args.words[1:] if args.words[:1] == ["--"] else args.words
    return Settings(
        listen_fd=args.listen_fd,
        guard_fd=args.guard_fd,
        run_dir=args.run_dir,
        key=args.key,
        voice_fd=int(env.get(VOICE_VARIABLE, "2")),
        options=parse_exec(words) if words else None,
        spec=None if words else _read_spec(env),
    )


def _read_spec(env: Mapping[str, str]) -> RunSpec | None:
    from shim.run.spec import SPEC_VARIABLE, RunSpec  # `shim exec` does without

    text = env.get(SPEC_VARIABLE)
    return RunSpec.from_json(text) if text else None
