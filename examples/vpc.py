"""A network of one's own, an instance in it, and a second network interface."""

from pycloudlib import EC2, progress

progress.show()

with EC2("vpc-example") as ec2:
    vpc = ec2.get_or_create_vpc(ec2.tag, "192.168.0.0/20", ingress=[("tcp", 80, 80, "0.0.0.0/0")])
    print(f"{vpc.id} has {vpc.ipv4_cidr} and {vpc.ipv6_cidr}")

    instance = ec2.launch(ec2.daily_image("trixie"), vpc=vpc)
    print(f"{instance.id} is {instance.private_ip} there, and {instance.ip} for us")

    ip = instance.add_network_interface(ipv4_address_count=2, ipv4_public_ip_count=1)
    for interface in instance.network_interfaces():
        print(f"interface {interface.device_index}: {interface.mac} {', '.join(interface.addresses)}")
    print(instance.execute("ip -brief link").check())

    instance.remove_network_interface(ip)
    print(f"{len(instance.network_interfaces())} interface is left")

    for error in vpc.delete():
        raise error
    print("the VPC and its instance are gone")
