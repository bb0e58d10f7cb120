"""The only door to paramiko: connections, host keys, commands and transfers."""
