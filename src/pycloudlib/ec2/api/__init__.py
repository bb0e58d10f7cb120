"""How EC2 is asked: session, errors, and what every noun needs."""
