"""Real servers for tests: Kafka, PostgreSQL, Redis and etcd on free loopback ports, as their own processes.

They are started from installed programs (`scripts/backends.sh` installs them), keep their data in a temporary
directory, can be stopped, killed and paused one by one, and end with the process that started them, however it
ends.
"""

from millrace_testkit.real.programs import BackendMissingError
from millrace_testkit.real.server import Server, ServerError
from millrace_testkit.real.stack import RealStack

__all__ = ["BackendMissingError", "RealStack", "Server", "ServerError"]
