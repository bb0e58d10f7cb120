"""SSH: the only package that imports paramiko. Connections, host keys, commands, and file transfers."""
