"""The parts of a VPC, and the network access of instances."""
