#!/bin/sh
# Runs in the initramfs before the root disk exists: the boot snapshot is taken here, and every boot resumes here.
[ "$1" = prereqs ] && exit 0
directory=/run/preloaded-cloud-init
# Load the drivers of the disk and the network interface, and the modules that systemd loads first.
modprobe -a autofs4 ext4 ip_tables nvme virtio_net
/usr/bin/python3 /preloaded/preloaded_cloud_init.py /dev/ttyS1 $directory || echo failed >/dev/ttyS1
umount /proc/sys/kernel/random/boot_id
for fact in product_uuid product_serial; do
    [ ! -e $directory/$fact ] || mount -n -o bind $directory/$fact /sys/class/dmi/id/$fact
done
# The disk has just been hot-plugged. A search for the root device that starts too early would sleep for a second.
udevadm wait --timeout=30 "/dev/disk/by-label/${ROOT#LABEL=}"
