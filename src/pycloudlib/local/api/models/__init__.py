"""The state of the local EC2: moto's records, and what machines make of them; one noun per file."""
