"""Tickets, from what the keeper looks like and what a rank brings."""

from __future__ import annotations

from dataclasses import replace

from shim.container.admission import admit, working_directory
from shim.container.placement import Additions
from shim.container.view import ContainerView
from shim.options import parse_exec
from shim.ticket import Capabilities, Hello, Namespace, Ticket

VIEW = ContainerView(
    pid=1,
    env={"PATH": "/bin", "HOME": "/home/u", "PWD": "/data"},
    cwd="/data",
    umask=0o22,
    no_new_privs=True,
    capabilities=Capabilities(0, 0, 0),
    seccomp=0,
)
HELLO = Hello(3, ("i",), ("prog",), "/data", {"SLURM_PROCID": "3", "PMIX_X": "host"}, b"\1", 0o22)
SPACES = (Namespace(1, 9),)


def ticket(
    line: str = "i",
    hello: Hello = HELLO,
    view: ContainerView = VIEW,
    umask: int = 0o22,
    additions: Additions | None = None,
) -> Ticket:
    return admit(
        hello,
        additions or Additions(),
        view=view,
        namespaces=SPACES,
        options=parse_exec(line.split()),
        base_env={"SLURM_PROCID": "0"},
        base_cwd="/data",
        base_umask=umask,
    )


def test_a_rank_gets_what_the_keeper_has() -> None:
    given = ticket()
    assert given.namespaces == SPACES
    assert (given.cwd, given.home, given.no_new_privs) == ("/data", "/home/u", True)
    assert given.capabilities == Capabilities(0, 0, 0)
    assert given.umask is None


def test_additions_hold_whatever_the_options_say() -> None:
    additions = Additions(env={"PMIX_RANK": "3"}, drop=("PMIX_",), cpus=b"\3", notes=("n",))
    given = ticket("--cleanenv i", additions=additions)
    assert given.env["PMIX_RANK"] == "3"
    assert "PMIX_X" not in ticket(additions=additions).env
    assert (given.cpus, given.notes) == (b"\3", ("n",))


def test_a_umask_that_the_runtime_changed_is_taken_over() -> None:
    assert ticket(view=replace(VIEW, umask=0o22), umask=0o77).umask == 0o22


def test_a_rank_started_elsewhere_stays_there() -> None:
    given = ticket(hello=replace(HELLO, cwd="/elsewhere"))
    assert (given.cwd, given.env["PWD"], given.cwd_required) == ("/elsewhere", "/elsewhere", False)


def test_options_that_name_a_directory_name_it_for_all() -> None:
    def place(line: str) -> tuple[str, bool]:
        return working_directory("/elsewhere", "/inside", parse_exec(line.split()), "/data")

    assert place("--pwd /inside i") == ("/inside", True)
    assert place("--cwd=/inside i") == ("/inside", True)
    assert place("--contain i") == ("/inside", False)
    assert place("-C i") == ("/inside", False)
    assert place("i") == ("/elsewhere", False)
