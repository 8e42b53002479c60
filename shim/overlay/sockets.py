"""The ZeroMQ sockets of an agent: how they find dead peers, and whom they let in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import zmq
import zmq.utils.z85

from shim.overlay.wire import LARGEST

KEEPALIVE_IDLE = 2
KEEPALIVE_INTERVAL = 1
KEEPALIVE_PROBES = 3
UNACKNOWLEDGED_MS = 3500
"""Seconds of silence before the kernel asks, between its questions, and the longest time that
sent data or a question may stay unanswered. A silent peer is given up after 4 s: asked at 2 and
3 s, and at 4 s the last answer is more than 3.5 s old (tcp_keepalive_timer in the kernel)."""

HANDSHAKE_MS = 5000
CONNECT_MS = 3000
BACKLOG = 4096
"""All nodes of a large job knock at once."""

ZAP_ENDPOINT = "inproc://zeromq.zap.01"
"""Where libzmq asks whether a client may connect (ZeroMQ RFC 27)."""

ZAP_DOMAIN = b"shim"


@dataclass(frozen=True)
class CurvePair:
    """A CURVE key pair, Z85."""

    public: bytes
    secret: bytes

    @classmethod
    def make(cls) -> CurvePair:
        return cls(*zmq.curve_keypair())


def make_gate(context: zmq.Context[zmq.Socket[bytes]]) -> zmq.Socket[bytes]:
    """Where libzmq asks whether a client key may come in."""
    gate = context.socket(zmq.REP)
    gate.linger = 0
    gate.bind(ZAP_ENDPOINT)
    return gate


def make_incoming(context: zmq.Context[zmq.Socket[bytes]], server: CurvePair) -> zmq.Socket[bytes]:
    """The socket that receives; not bound yet."""
    incoming = _socket(context, zmq.DEALER)
    incoming.backlog = BACKLOG
    incoming.curve_server = True
    incoming.curve_secretkey = server.secret
    incoming.zap_domain = ZAP_DOMAIN
    # Without this libzmq lets everybody in when no gate is bound (RFC 27 makes it optional).
    incoming.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    return incoming


def make_outgoing(context: zmq.Context[zmq.Socket[bytes]], client: CurvePair) -> zmq.Socket[bytes]:
    """The socket that sends; a broken connection is not made again."""
    outgoing = _socket(context, zmq.ROUTER)
    outgoing.router_mandatory = True
    outgoing.reconnect_ivl = -1
    outgoing.connect_timeout = CONNECT_MS
    outgoing.curve_publickey = client.public
    outgoing.curve_secretkey = client.secret
    return outgoing


def _socket(context: zmq.Context[zmq.Socket[bytes]], kind: int) -> zmq.Socket[bytes]:
    """A TCP socket that finds a dead peer by itself.

    The kernel asks, not ZMTP's heartbeat: `scontrol suspend` stops agents with SIGSTOP, the
    kernel goes on answering for a stopped process, ZMTP would declare it dead. It also costs
    an idle agent no CPU. The exception is a stop in the middle of a transfer that is larger than
    the receiver's window: data that waits for a window counts as unanswered too (tcp(7),
    TCP_USER_TIMEOUT).
    """
    made = context.socket(kind)
    made.linger = 0
    made.sndhwm = 0
    made.rcvhwm = 0
    made.maxmsgsize = LARGEST
    made.handshake_ivl = HANDSHAKE_MS
    made.tcp_keepalive = 1
    made.tcp_keepalive_idle = KEEPALIVE_IDLE
    made.tcp_keepalive_intvl = KEEPALIVE_INTERVAL
    made.tcp_keepalive_cnt = KEEPALIVE_PROBES
    made.setsockopt(zmq.TCP_MAXRT, UNACKNOWLEDGED_MS)
    return made


def answer_zap(question: Sequence[bytes], allowed: bytes) -> list[bytes]:
    """The answer to one ZAP question: 200 for the one client key, 400 for everything else."""
    version, request = question[0], question[1]
    mechanism, credentials = question[5], question[6:]
    welcome = (
        mechanism == b"CURVE"
        and len(credentials) == 1
        and zmq.utils.z85.encode(credentials[0]) == allowed
    )
    status = (b"200", b"OK") if welcome else (b"400", b"unknown key")
    return [version, request, *status, b"", b""]
