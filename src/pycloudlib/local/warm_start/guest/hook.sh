#!/bin/sh
# Puts Python and cloud-init into the initramfs in which machines are saved.
[ "$1" = prereqs ] && exit 0
. /usr/share/initramfs-tools/hook-functions
python=$(readlink -f /usr/bin/python3)
copy_exec "$python"
ln -s "${python##*/}" "$DESTDIR/usr/bin/python3"
# With their times, by which they are compared with those of the disk. Libraries first: what is there already is left.
for tree in /usr/lib/python3/dist-packages "/usr/lib/${python##*/}"; do
    find "$tree" -name '*.so' | while read -r library; do
        copy_exec "$library"
    done
    cp -a --no-clobber "$tree/." "$DESTDIR$tree"
done
mkdir -p "$DESTDIR/preloaded"
cp -a "$CONFDIR/preloaded/." "$DESTDIR/preloaded"
