"""The state of the local EC2: moto's records, kept in step with the machines; one noun per file."""
