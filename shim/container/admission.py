"""A rank's ticket, from what the keeper looks like and what the rank brings (pure)."""

from __future__ import annotations

from collections.abc import Mapping

from shim.container.environment import rank_environment, without
from shim.container.placement import Additions
from shim.container.view import ContainerView
from shim.options import ExecOptions
from shim.ticket import Hello, Namespace, Ticket


def admit(
    hello: Hello,
    additions: Additions,
    *,
    view: ContainerView,
    namespaces: tuple[Namespace, ...],
    options: ExecOptions,
    base_env: Mapping[str, str],
    base_cwd: str,
    base_umask: int,
) -> Ticket:
    """The ticket with which the rank becomes what the runtime's `exec` would have made of it.

    Args:
        base_env, base_cwd, base_umask: of the process that started the runtime.
    """
    cwd, required = working_directory(hello.cwd, view.cwd, options, base_cwd)
    env = without(
        rank_environment(base_env, view.env, hello.env, clean=cleans_environment(options)),
        *additions.drop or ("\0",),
    )
    if "PWD" in view.env:
        env["PWD"] = view.env["PWD"] if cwd == view.cwd else cwd
    env.update(additions.env)
    return Ticket(
        namespaces=namespaces,
        env=env,
        cwd=cwd,
        home=view.env.get("HOME", "/"),
        cwd_required=required,
        cpus=additions.cpus,
        memory_policy=additions.memory_policy,
        no_new_privs=view.no_new_privs,
        capabilities=view.capabilities,
        # The runtime hands on the caller's umask unless options say otherwise.
        umask=None if view.umask == base_umask else view.umask,
        notes=additions.notes,
    )


def cleans_environment(options: ExecOptions) -> bool:
    """Whether the runtime starts from an empty environment (launcher_linux.go)."""
    return options.has("cleanenv") or options.has("containall") or options.has("compat")


def working_directory(
    rank_cwd: str, keeper_cwd: str, options: ExecOptions, base_cwd: str
) -> tuple[str, bool]:
    """Where the rank starts, and whether it must be there and nowhere else.

    The keeper is where the runtime's rules put it. Only a rank that was started in another
    directory than the keeper goes elsewhere: to its own, if no option names one for all.
    """
    if options.has("pwd") or options.has("cwd"):
        return keeper_cwd, True
    contained = options.has("contain") or options.has("containall") or options.has("compat")
    if contained or rank_cwd == base_cwd:
        return keeper_cwd, False
    return rank_cwd, False
