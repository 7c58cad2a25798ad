#!/bin/sh
# Installs what is in this directory, or removes it again. Starts nothing.
#
#   ./install.sh [--uninstall]
#
# Words of the environment, as of `make install`: PREFIX (/usr/local), SYSCONFDIR (/etc), DESTDIR, SERSYNC=1 (callable as
# sersync, too), INIT=sysv or INIT=openrc (a script in /etc/init.d). Configurations, journals and logs stay.
set -eu
umask 022

PREFIX=${PREFIX-/usr/local}
SYSCONFDIR=${SYSCONFDIR-/etc}
DESTDIR=${DESTDIR-}
INIT=${INIT-}
SERSYNC=${SERSYNC-}
if [ $# -gt 1 ] || { [ $# -eq 1 ] && [ "$1" != --uninstall ]; }; then
    echo "usage: [PREFIX=DIR] [INIT=sysv|openrc] [SERSYNC=1] $0 [--uninstall]" >&2
    exit 2
fi
case $INIT in
'' | systemd | sysv | openrc) ;;
*) echo "INIT is systemd, sysv or openrc, not $INIT" >&2; exit 2 ;;
esac
cd "$(dirname "$0")"

script=$DESTDIR$SYSCONFDIR/init.d/syncsup
has_systemd=
if command -v systemctl >/dev/null 2>&1; then
    has_systemd=$(systemctl --version 2>/dev/null | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
fi

# The files that belong below PREFIX, and the administrator's, which are not written over.
below() { find "$1" -type f | sort; }
plain() { for dir in bin lib share; do below "$dir"; done; }

# The program and the administrator's files have other paths here than in this directory. A systemd before 231
# (CentOS 7 has 219) does not know groups of system calls and would refuse all of them, and it does not know this word
# for no limit.
adapted() {
    case $1 in
    lib/systemd/system/*.service | init/* | etc/*)
        old=
        if [ "${has_systemd:-231}" -lt 231 ]; then
            old='/^SystemCallFilter=/d; /^SystemCallErrorNumber=/d
                s/^TimeoutStartSec=infinity/TimeoutStartSec=0/'
        fi
        sed -e "s|/bin/syncsup|$PREFIX/bin/syncsup|" \
            -e "s,/etc/\\(\\|default/\\|sysconfig/\\|conf.d/\\)syncsup,$SYSCONFDIR/\\1syncsup,g" \
            -e "$old" "$1"
        ;;
    *) cat "$1" ;;
    esac
}

# A new file takes the place of the old one at once: a running program cannot be written over.
put() {
    mkdir -p "$(dirname "$2")"
    adapted "$1" >"$2.new"
    if [ -x "$1" ]; then chmod 755 "$2.new"; else chmod 644 "$2.new"; fi
    mv -f "$2.new" "$2"
}

reload() {
    if [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi
}

if [ $# -eq 1 ]; then
    link=$DESTDIR$PREFIX/bin/sersync
    if [ "$(readlink "$link" 2>/dev/null)" = syncsup ]; then rm -f "$link"; fi
    plain | while IFS= read -r file; do rm -f "$DESTDIR$PREFIX/$file"; done
    below etc | while IFS= read -r file; do
        to=$DESTDIR$SYSCONFDIR/${file#etc/}
        if adapted "$file" | cmp -s - "$to"; then rm -f "$to"; fi
    done
    if grep -qs "$PREFIX/bin/syncsup" "$script"; then rm -f "$script"; fi
    for dir in "$DESTDIR$PREFIX/share/doc/syncsup" "$DESTDIR$PREFIX/share/syncsup"; do
        if [ -d "$dir" ]; then find "$dir" -depth -type d -exec rmdir {} + 2>/dev/null || true; fi
    done
    for dir in syncsup/conf.d syncsup; do rmdir "$DESTDIR$SYSCONFDIR/$dir" 2>/dev/null || true; done
    reload
    echo "removed"
    for dir in "$DESTDIR$SYSCONFDIR/syncsup" "$DESTDIR/var/lib/syncsup"; do
        if [ -e "$dir" ]; then echo "what is in $dir stays"; fi
    done
    exit 0
fi

plain | while IFS= read -r file; do put "$file" "$DESTDIR$PREFIX/$file"; done
below etc | while IFS= read -r file; do
    to=$DESTDIR$SYSCONFDIR/${file#etc/}
    if [ ! -e "$to" ]; then put "$file" "$to"; fi
done
if [ -n "$SERSYNC" ]; then ln -sf syncsup "$DESTDIR$PREFIX/bin/sersync"; fi
case $INIT in sysv | openrc) put "init/$INIT" "$script" ;; esac
reload

echo "installed below $DESTDIR$PREFIX and in $DESTDIR$SYSCONFDIR; nothing was started"
[ -z "$DESTDIR" ] || exit 0
if ! "$PREFIX/bin/syncsup" --version; then
    echo "this program does not run here: see docs/operating.md, Old systems" >&2
    exit 1
fi
if ! command -v rsync >/dev/null 2>&1; then
    echo "there is no rsync: install it, 3.1.0 or newer" >&2
fi
if [ "${has_systemd:-231}" -lt 231 ]; then
    echo "systemd $has_systemd cannot refuse system calls by groups: its units are installed without that" >&2
fi
echo "next: syncsup demo; then write $SYSCONFDIR/syncsup/conf.d/www.yaml (man syncsup.yaml)"
