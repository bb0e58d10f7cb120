"""The machines behind the instances: real ones and simulated ones."""
