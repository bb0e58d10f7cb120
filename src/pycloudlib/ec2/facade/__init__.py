"""The public methods of `pycloudlib.ec2.cloud.EC2`, one noun per file."""
