#!/bin/sh
# Makes the volumes that the fuzz targets bend: small, real, and mostly zeros, so that each is a few KiB of zstd.
# Packages: btrfs-progs dosfstools e2fsprogs exfatprogs fdisk lvm2 mount mtools ntfs-3g python3-minimal qemu-utils util-linux xfsprogs zstd.
# Run as root in this folder. Names and UUIDs are fixed; times are not, so a second run gives other bytes.
set -eu
uuid=01234567-89ab-cdef-0123-456789abcdef
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
words="$work/words"
yes words | head -c 100000 > "$words"
blank() { rm -f "$work/$1"; truncate -s "$2" "$work/$1"; }

blank ext4 4M
mkdir "$work/tree"; cp "$words" "$work/tree"; ln -s words "$work/tree/link"
mke2fs -q -F -t ext4 -b 1024 -g 1024 -N 64 -O 64bit,metadata_csum,^resize_inode,^has_journal -U $uuid -L plan -d "$work/tree" "$work/ext4"

blank ext2 2M
mke2fs -q -F -t ext2 -b 1024 -g 512 -N 64 -U $uuid -L old -d "$work/tree" "$work/ext2"

blank xfs 32M
printf '/dev/null\n0 0\nd--755 0 0\nwords ---644 0 0 %s\n$\n' "$words" > "$work/proto"
TEST_DIR=/ TEST_DEV=/ QA_CHECK_FS=1 mkfs.xfs -q -f -b size=1k -d agcount=2 -m uuid=$uuid -L plan -p "$work/proto" "$work/xfs"

blank btrfs 112M
mkfs.btrfs -q -n 4096 -m single -d single -U $uuid -L plan --rootdir "$work/tree" "$work/btrfs"
truncate -s 112M "$work/btrfs"

blank fat12 1M
blank fat16 8M
blank fat32 34M
mkfs.vfat -F 12 -s 8 -i 12ab34cd -n PLAN "$work/fat12" > /dev/null
mkfs.vfat -F 16 -s 2 -i 12ab34cd -n PLAN "$work/fat16" > /dev/null
mkfs.vfat -F 32 -s 1 -i 12ab34cd -n PLAN "$work/fat32" > /dev/null
for kind in fat12 fat16 fat32; do MTOOLS_SKIP_CHECK=1 mcopy -i "$work/$kind" "$words" ::/; done

blank exfat 8M
mkfs.exfat -L plan -c 4096 "$work/exfat" > /dev/null

blank ntfs 4M
mkfs.ntfs -F -Q -q -c 1024 -s 512 -p 0 -H 255 -S 63 -L plan "$work/ntfs"
# Its table of upper case letters, 128 KiB that do not compress and that nobody here reads.
python3 - "$work/ntfs" <<'END'
import sys
path = sys.argv[1]
disk = bytearray(open(path, "rb").read())
table = disk.index(b"".join(n.to_bytes(2, "little") for n in range(64)))
disk[table:table + (128 << 10)] = bytes(128 << 10)
open(path, "wb").write(disk)
END

blank swap 64K
mkswap -q -U $uuid -L plan "$work/swap"

blank lvm 8M
device=$(losetup --find --show "$work/lvm")
export LVM_SUPPRESS_FD_WARNINGS=1
lvm_here() { tool=$1; shift; $tool --driverloaded n --config "devices{filter=[\"a|^$device$|\",\"r|.*|\"] use_devicesfile=0 scan_lvs=0} backup{backup=0 archive=0}" -y "$@" > /dev/null; }
lvm_here pvcreate "$device"
lvm_here vgcreate -s 1m plan "$device"
lvm_here lvcreate -Zn -Wn -an -n root -l 3 plan
lvm_here lvcreate -Zn -Wn -an -n data -l 2 plan
lvm_here lvextend -l +1 plan/root
losetup -d "$device"

# One half of a mirror with the ext2 in it, as the kernel's md_p.h has it: no tool here makes one without md.
python3 - "$work/ext2" "$work/md" <<'END'
import struct, sys
content = open(sys.argv[1], "rb").read()
offset, sectors = 64 << 10, len(content) // 512
block = bytearray(512)
def put(at, form, *values): struct.pack_into("<" + form, block, at, *values)
put(0, "II", 0xA92B4EFC, 1)
put(16, "16s32sQ", bytes([0x11] * 16), b"plan:0", 1700000000)
put(72, "i", 1)
put(80, "Q", sectors)
put(92, "I", 2)
put(128, "QQQ", offset // 512, sectors, 4096 // 512)
put(168, "16s", bytes([0x22] * 16))
put(200, "QQ", 7, 2**64 - 1)
put(220, "I", 128)
block[256:512] = bytes([0xFF] * 256)
put(256, "HH", 0, 1)
total = sum(struct.unpack("<128I", block))
put(216, "I", (total + (total >> 32)) & 0xFFFFFFFF)
disk = bytearray(offset) + content
disk[4096:4608] = block
open(sys.argv[2], "wb").write(disk)
END

blank gpt 4M
printf 'label: gpt\nlabel-id: %s\nsize=1MiB, type=U, name=boot\nsize=1MiB, type=L, name=root\n' $uuid | sfdisk -q --no-reread --no-tell-kernel "$work/gpt"
blank mbr 8M
printf 'label: dos\nsize=1MiB, type=c, bootable\nsize=5MiB, type=5\nsize=1MiB, type=83\nsize=1MiB, type=82\n' | sfdisk -q --no-reread --no-tell-kernel "$work/mbr"

qemu-img convert -q -f raw -O qcow2 -o cluster_size=4096 "$work/ext2" "$work/qcow2"
qemu-img convert -q -c -f raw -O qcow2 -o cluster_size=4096 "$work/ext2" "$work/qcow2-compressed"

for file in ext4 ext2 xfs btrfs fat12 fat16 fat32 exfat ntfs swap lvm md gpt mbr qcow2 qcow2-compressed; do
    zstd -q -f --ultra -22 --long=27 "$work/$file" -o "$file.zst"
done
