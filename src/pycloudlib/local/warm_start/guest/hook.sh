#!/bin/sh
# Adds Python and cloud-init to the initramfs in which boot snapshots are taken.
[ "$1" = prereqs ] && exit 0
. /usr/share/initramfs-tools/hook-functions
python=$(readlink -f /usr/bin/python3)
copy_exec "$python"
ln -s "${python##*/}" "$DESTDIR/usr/bin/python3"
# Keep the modification times, which are compared with the disk's. Copy libraries first: existing files are not replaced.
for tree in /usr/lib/python3/dist-packages "/usr/lib/${python##*/}"; do
    find "$tree" -name '*.so' | while read -r library; do
        copy_exec "$library"
    done
    cp -a --no-clobber "$tree/." "$DESTDIR$tree"
done
mkdir -p "$DESTDIR/etc/ssl/certs"
cp -a /etc/ssl/certs/ca-certificates.crt "$DESTDIR/etc/ssl/certs"
mkdir -p "$DESTDIR/preloaded"
cp -a "$CONFDIR/preloaded/." "$DESTDIR/preloaded"
# Include all udev rules of the disk, so that udev handles the virtual machine's devices before the boot snapshot.
for tree in /usr/lib/udev/rules.d /etc/udev/rules.d; do
    mkdir -p "$DESTDIR$tree"
    cp -a "$tree/." "$DESTDIR$tree"
done
cp -a /usr/lib/udev/hwdb.bin "$DESTDIR/usr/lib/udev"
for program in ata_id cdrom_id dmi_memory_id scsi_id; do
    copy_exec "/usr/lib/udev/$program"
done
# Disable the programs for network interfaces, which udev runs again from the disk, and for the clock.
for program in /usr/local/sbin/ec2-interface /usr/lib/udev/ifupdown-hotplug /usr/lib/systemd/systemd-sysctl \
    /usr/lib/udev/hwclock-set; do
    mkdir -p "$DESTDIR${program%/*}"
    ln -sf /bin/true "$DESTDIR$program"
done
manual_add_modules autofs4 button evdev ip_tables qemu_fw_cfg serio_raw virtio_rng
