"""The base of all EC2 calls: session, errors, retries, and shared context."""
