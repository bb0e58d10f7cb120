#!/bin/sh
# Runs in the initramfs before udev. The kernel generates the boot id on first access, and udev reads it. This file hides
# the boot id until the boot snapshot is taken, so that every boot has its own id.
[ "$1" = prereqs ] && exit 0
echo 00000000-0000-4000-8000-000000000000 >/boot-id
mount -n -o bind /boot-id /proc/sys/kernel/random/boot_id
