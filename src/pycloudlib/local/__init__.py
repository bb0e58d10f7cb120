"""The local EC2: the EC2 API on loopback, with a virtual machine behind every instance."""
