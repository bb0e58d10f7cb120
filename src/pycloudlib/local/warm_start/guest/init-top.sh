#!/bin/sh
# In the initramfs, before udev. Whoever first asks for the kernel's boot id settles it, and udev asks: until the machine
# has been saved, it asks this file, so that every boot has an id of its own.
[ "$1" = prereqs ] && exit 0
echo 00000000-0000-4000-8000-000000000000 >/boot-id
mount -n -o bind /boot-id /proc/sys/kernel/random/boot_id
