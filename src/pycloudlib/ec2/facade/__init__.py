"""What EC2 offers its user, one noun per file; `pycloudlib.ec2.cloud.EC2` is all of them."""
