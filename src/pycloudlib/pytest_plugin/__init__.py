"""The pytest plugin: instances as fixtures, on AWS or on a local EC2. It is inactive until a test requests one."""
