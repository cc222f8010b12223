"""Several processes that answer on one socket.

A supervisor starts the workers, which inherit the listening socket, so a connection that waits to be accepted
is lost with none of them. Supervisor and workers talk over a socket pair each; a worker whose supervisor is
gone drains and ends.
"""

from coe.gateway._workers._supervisor import Supervisor

__all__ = ["Supervisor"]
