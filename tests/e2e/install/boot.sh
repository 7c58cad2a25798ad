#!/bin/bash
# A machine of a test's own: this one's files, from which nothing is written back, and in them systemd as process 1, or
# nothing. Called in mount, pid, ipc, uts and cgroup name spaces of its own:
#   boot.sh SCRATCH systemd|nothing BIND...
set -euo pipefail

scratch=$1 init=$2
shift 2
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$scratch"
mkdir "$scratch"/{root,upper,work}
root=$scratch/root
# Everything that is written goes to `upper`.
mount -t overlay overlay -o "lowerdir=/,upperdir=$scratch/upper,workdir=$scratch/work" "$root"
mount -t proc proc "$root/proc"
# The limits of this machine are not the test's: what systemd does not start sees files in their place.
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,ro,bind "$root/proc/sys"
mkdir "$scratch/limits"
for name in max_user_watches max_queued_events max_user_instances; do
    echo 100 >"$scratch/limits/$name"
done
mount --bind "$scratch/limits" "$root/proc/sys/fs/inotify"
mount -t sysfs -o ro sysfs "$root/sys"
mount --rbind /dev "$root/dev"
for dir in run tmp var/tmp; do
    mount -t tmpfs -o mode=1777 tmpfs "$root/$dir"
done
for dir in "$@"; do
    mkdir -p "$root$dir"
    mount --bind "$dir" "$root$dir"
done
if [ "$init" = systemd ]; then
    # Nothing of this machine is started: only what the tests ask for.
    etc=$root/etc/systemd/system
    rm -rf "$etc" "$root"/usr/lib/systemd/system/*.wants "$root"/usr/lib/systemd/system-generators \
        "$root"/lib/systemd/system/*.wants "$root"/lib/systemd/system-generators
    : >"$root/etc/fstab"
    mkdir -p "$etc"
    printf '[Unit]\nDefaultDependencies=no\n' | tee "$etc/sysinit.target" "$etc/basic.target" >"$etc/test.target"
    mount -t tmpfs tmpfs "$root/sys/fs/cgroup"
    if grep -q '^0::' /proc/self/cgroup && ! grep -q 'name=systemd' /proc/self/cgroup; then
        umount "$root/sys/fs/cgroup"
        mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
    else
        mkdir "$root"/sys/fs/cgroup/{systemd,unified}
        mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
        mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup/unified"
    fi
fi
# Mounts pass from here to the services, as on a real machine.
mkdir "$root/old"
cd "$root"
pivot_root . old
mount --make-rshared /
mount --make-rprivate /old
umount -l /old
rmdir /old
if [ "$init" = systemd ]; then
    exec env -i container=syncsup-test PATH="$PATH" /lib/systemd/systemd --system --unit=test.target \
        --log-level=warning --show-status=no </dev/null
fi
touch /run/booted
# Reaps whoever is left to it.
while :; do
    sleep 3600 &
    wait $! || true
done
