"""The fallback: a named instance of the runtime, which ranks enter through the runtime itself.

Used where ranks may not enter the container's namespaces on their own: a setuid-root runtime, or a
seccomp filter, which only its maker can install. It costs each rank a start of the runtime, and
an instance always has a PID namespace of its own.
"""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import Any

from shim.container.admission import cleans_environment
from shim.container.environment import INTERNAL, without
from shim.container.order import StartOrder
from shim.container.placement import Additions
from shim.container.runtime import Runtime
from shim.container.troubles import describe
from shim.errors import ShimError
from shim.process_watch import ProcessWatch
from shim.ticket import Fallback, Hello

_OF_EXEC = {"env", "env-file", "cleanenv", "pwd", "cwd", "app", "no-eval"}
"""Options that concern the command and not the container: `instance start` does not get them."""
_OF_BOTH = {"security", "add-caps", "drop-caps"}
_INSTANCE_SCHEME = "instance://"


class Instance:
    """A running instance of this step on this node."""

    def __init__(
        self, runtime: Runtime, order: StartOrder, name: str, obstacle: str, client: Any
    ) -> None:
        self.name = name
        self.report: str | None = (
            f"{obstacle}; each rank goes through `{runtime.name} exec instance://{name}` instead."
        )
        self._runtime = runtime
        self._order = order
        self._client = client
        self._pid = 0
        self._watch = ProcessWatch(self._on_end)

    @classmethod
    async def start(cls, runtime: Runtime, order: StartOrder, obstacle: str) -> Instance:
        """Start it, unless the user named a running one.

        Raises:
            ShimError: the runtime refused.
        """
        image = order.options.image
        own = not image.startswith(_INSTANCE_SCHEME)
        name = instance_name(order.key) if own else image.removeprefix(_INSTANCE_SCHEME)
        client = await asyncio.to_thread(_client, runtime, order.run_dir)
        instance = cls(runtime, order, name, obstacle, client if own else None)
        if own:
            await asyncio.to_thread(instance._start)
        instance._pid = await asyncio.to_thread(_pid_of, client, name)
        instance._watch.add(instance._pid, name)
        return instance

    @property
    def pids(self) -> tuple[int, ...]:
        """None of a foreign instance: it is not ours to end."""
        return (self._pid,) if self._client is not None else ()

    def admit(self, hello: Hello, additions: Additions) -> Fallback:
        options = self._order.options
        clean = cleans_environment(options)
        env = without(hello.env, *additions.drop)
        # A clean environment lets in only what is marked for it.
        for variable, value in additions.env.items():
            env[f"APPTAINERENV_{variable}" if clean else variable] = _quoted(value, clean)
        words = [word for word in options.runtime_arguments if _name(word) in _OF_EXEC | _OF_BOTH]
        if clean and not options.has("cleanenv"):
            words.append("--cleanenv")
        return Fallback(
            argv=(
                self._runtime.path,
                "exec",
                *words,
                f"{_INSTANCE_SCHEME}{self.name}",
                *hello.command,
            ),
            env=env,
            cpus=additions.cpus,
            notes=additions.notes,
        )

    async def stop(self) -> None:
        self._watch.close()
        if self._client is not None:
            instance = self._client.instance(self.name, start=False, name=self.name)
            await asyncio.to_thread(instance.stop)

    def _start(self) -> None:
        from spython.utils import run_command

        options = self._order.options
        words = [word for word in options.runtime_arguments if _name(word) not in _OF_EXEC]
        env = {name: value for name, value in self._order.env.items() if name not in INTERNAL}
        # spython's own `start` prints why it failed and does not tell its caller.
        result = run_command(
            [self._runtime.path, "instance", "start", *words, options.image, self.name],
            environ=env,
            capture=False,
            quiet=True,
        )
        if result["return_code"] != 0:
            said = "".join(result["message"]) + _log_of(self.name, env.get("HOME", "/"))
            raise describe(options.image, result["return_code"], said)

    def _on_end(self, pid: int, name: str) -> None:
        self._order.on_death(
            f"The container instance {name} ended (pid {pid}), so the ranks on this node are ended."
        )


def instance_name(key: str) -> str:
    """A name that the runtime takes: letters, digits, dot, underscore and dash."""
    return "shim-" + re.sub(r"[^a-zA-Z0-9._-]", "_", key)


def _log_of(name: str, home: str) -> str:
    """What the instance itself wrote; the command that starts it tells no more than its status."""
    logs = Path(home).glob(f".*/instances/logs/*/*/{name}.err")
    return "".join(log.read_text(errors="replace") for log in logs)


def _client(runtime: Runtime, run_dir: Path) -> Any:
    """spython's client, made to use *runtime*: it runs whatever `singularity` is on PATH."""
    programs = run_dir / "bin"
    programs.mkdir(exist_ok=True)
    link = programs / "singularity"
    link.unlink(missing_ok=True)
    link.symlink_to(runtime.path)
    os.environ["PATH"] = f"{programs}:{os.environ.get('PATH', os.defpath)}"
    from spython.main import get_client

    return get_client(quiet=True)


def _pid_of(client: Any, name: str) -> int:
    found = client.instances(name=name, return_json=True, quiet=True) or []
    listed = found if isinstance(found, list) else [found]
    pid = next((entry["pid"] for entry in listed if entry.get("instance") == name), None)
    if pid is None:
        raise ShimError(
            f"The container instance {name} is not running.",
            "See the agent's log with --verbose, or start it by hand with `instance start`.",
        )
    return int(pid)


def _name(word: str) -> str:
    return word.removeprefix("--").partition("=")[0]


def _quoted(value: str, marked: bool) -> str:
    """The runtime evaluates marked values in a shell, inside double quotes."""
    return re.sub(r"([\\$`])", r"\\\1", value) if marked else value
