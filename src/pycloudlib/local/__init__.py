"""The local EC2: the EC2 API on loopback, with a virtual machine behind every instance."""

from pycloudlib.local.daemon import LocalEC2
from pycloudlib.local.options import ServerInfo

__all__ = ["LocalEC2", "ServerInfo"]
