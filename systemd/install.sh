#!/bin/sh
# Carries out `make package`, `make install`, `make install-service` and `make uninstall`.
#
#   $PREFIX/releases/VERSION-HASH   a release with its own Python packages; it never changes while a process runs in it
#   $PREFIX/current, previous       links to two releases, replaced by a rename, so that the command always exists
#   $PREFIX/bin/gateway             the command of the current release
#   $PREFIX/.legitmark-gateway      the list of everything that this script made there
#
# PREFIX is a folder for the gateway alone. The script changes and removes only files that its lists name: the list above, and for
# the service the one in /usr/local/share/legitmark-gateway, which also names the PREFIX that the units belong to. Releases are
# built in a temporary folder; the checkout stays unchanged.
set -eu
umask 022
cd "$(dirname "$0")/.."

PREFIX=${PREFIX:-/opt/legitmark-gateway}
DESTDIR=${DESTDIR:-}
PYTHON=${PYTHON:-python3}
NAME=legitmark-gateway
LIST=.$NAME
HEADER="# Made by install.sh of $NAME: make uninstall removes what this list names, and nothing else."
SHARED="/ /bin /boot /dev /etc /etc/$NAME /home /lib /lib64 /media /mnt /opt /proc /root /run /run/$NAME /sbin /srv /sys /tmp
    /usr /usr/bin /usr/lib /usr/local /usr/local/bin /usr/local/etc /usr/local/lib /usr/local/sbin /usr/local/share
    /usr/local/share/$NAME /usr/sbin /usr/share /var /var/lib /var/lib/$NAME /var/log /var/log/$NAME /var/tmp"

say() { echo "  $*"; }
fail() { echo "install.sh: $*" >&2; exit 1; }

# --- where

places() { # normalise PREFIX, DESTDIR and root, or refuse them
    while [ "$PREFIX" != "${PREFIX%/}" ]; do PREFIX=${PREFIX%/}; done
    while [ "$DESTDIR" != "${DESTDIR%/}" ]; do DESTDIR=${DESTDIR%/}; done
    case $DESTDIR in
    "" | /*) ;;
    *) DESTDIR=$PWD/$DESTDIR ;;
    esac
    case $PREFIX in
    "") fail "PREFIX cannot be /: the gateway needs its own folder, such as /opt/$NAME" ;;
    *[!A-Za-z0-9/._+@-]*) fail "PREFIX is copied into units and scripts, so it can contain only letters, digits and /._+@-: $PREFIX" ;;
    /*) ;;
    *) fail "PREFIX must begin with /: $PREFIX" ;;
    esac
    case $PREFIX/ in
    *//* | */./* | */../*) fail "PREFIX cannot contain //, . or ..: $PREFIX" ;;
    esac
    root=$DESTDIR$PREFIX
    UNITS=$DESTDIR/usr/local/lib/systemd/system
    ETC=$DESTDIR/etc/$NAME
    SERVICE=$DESTDIR/usr/local/share/$NAME
    for folder in $SHARED ${HOME:+"$HOME" "$HOME/.local"}; do
        [ "$PREFIX" != "$folder" ] && { [ ! -e "$root" ] || [ ! "$root" -ef "$DESTDIR$folder" ]; } ||
            fail "$PREFIX is a folder that others use: the gateway needs one of its own, such as /opt/$NAME or $PREFIX/$NAME"
    done
}

lock() { # FOLDER FD: let only one install.sh at a time work there
    eval "exec $2<\"\$1\""
    flock -n "$2" || { say "waiting for another install.sh that is at work in $1"; flock -w 600 "$2"; } ||
        fail "another install.sh is still at work in $1"
    [ "$1" -ef "/proc/self/fd/$2" ] || fail "$1 was removed by another install.sh: try again"
}

claim() { # accept PREFIX if it is new, empty or ours, and refuse it otherwise
    mkdir -p "$root"
    lock "$root" 9
    for folder in releases bin; do
        [ ! -L "$root/$folder" ] || fail "$PREFIX/$folder is a link to a folder that others may use: move it away"
    done
    if [ ! -f "$root/$LIST" ]; then
        found=$(ls -A "$root" | grep -vxF "$LIST.new" | head -n 1 || true) # a killed run may have left that file
        [ -z "$found" ] || earlier ||
            fail "$PREFIX is in use by others ($found is there): choose a folder that is empty or not there yet, such as $PREFIX/$NAME"
        { echo "$HEADER"; [ -z "$found" ] || everything; } >"$root/$LIST.new"
        mv "$root/$LIST.new" "$root/$LIST"
    fi
}

earlier() { # succeed if PREFIX holds only files made by an older install.sh, which kept no list
    case $(readlink "$root/current") in
    releases/*) ;;
    *) return 1 ;;
    esac
    [ "$(readlink "$root/bin/gateway")" = ../current/bin/gateway ] || return 1
    [ "$(ls -A "$root/bin")" = gateway ] || return 1
    ls -A "$root" | while read -r entry; do
        case $entry in
        releases | current | previous | bin) ;;
        *) return 1 ;;
        esac
    done
}

everything() { # list the files that such an install.sh made
    for release in "$root"/releases/*; do
        for package in "$release"/lib/python*/site-packages/legitmark_gateway-*.dist-info; do
            [ ! -d "$package" ] || echo "releases/${release##*/}"
        done
    done
    printf '%s\n' current previous bin/gateway
}

listed() { [ -f "$root/$LIST" ] && grep -qxF "$1" "$root/$LIST"; }
record() { listed "$1" || echo "$1" >>"$root/$LIST"; } # call it before making the file, so that the list is complete even after an interruption
forget() { sed -i "\\|^$(literal "$1")\$|d" "$root/$LIST"; }

# --- a release

tools() { # install pip and the build backend, pinned by hash, into a temporary venv
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "Python 3.11 or later is needed: make PYTHON=python3.11 ..."
    "$PYTHON" -c 'import venv, ensurepip' 2>/dev/null || fail "Python's venv is missing: on Debian and Ubuntu, apt install python3-venv"
    work=$(mktemp -d)
    filling=
    trap 'rm -rf "$work" ${filling:+"$filling"}' EXIT
    trap 'exit 1' HUP INT TERM
    "$PYTHON" -m venv "$work/tools"
    pip install --require-hashes --only-binary :all: --requirement systemd/constraints.txt
}

pip() { "$work/tools/bin/python" -m pip --quiet --disable-pip-version-check --no-input "$@"; }

build() { # show hatchling's output only if it fails
    "$work/tools/bin/hatchling" build "$@" >"$work/built" 2>&1 || { cat "$work/built" >&2; exit 1; }
}

package() {
    tools
    build --directory "$PWD/dist"
    ls dist/*
}

release() {
    places
    claim
    tools
    build --target wheel --directory "$work"
    wheel=$(echo "$work"/*.whl)
    version=${wheel##*/legitmark_gateway-}
    version=${version%%-*}
    release=releases/$version-$({ cat "$wheel" constraints.txt && "$PYTHON" --version; } | sha256sum | cut -c 1-8)
    if listed "$release" && [ -d "$root/$release" ]; then
        say "$PREFIX/$release is there"
    else
        [ ! -e "$root/$release" ] || fail "$PREFIX/$release is there, and this script did not make it: move it away"
        mkdir -p "$root/releases"
        unfinished=releases/.new.$$
        ! listed "$unfinished" || drop "$unfinished"
        [ ! -e "$root/$unfinished" ] || fail "$PREFIX/$unfinished is there, and this script did not make it: move it away"
        record "$unfinished" # the next run removes it if this one is killed
        filling=$root/$unfinished
        mkdir "$filling"
        fill "$filling"
        record "$release"
        mv -T "$filling" "$root/$release"
        filling=
        forget "$unfinished"
        say "$PREFIX/$release"
    fi
    before=$(readlink "$root/current" || true)
    if [ "$before" != "$release" ]; then
        [ -z "$before" ] || point "$before" previous
        point "$release" current
    fi
    mkdir -p "$root/bin"
    point ../current/bin/gateway bin/gateway
    prune
    say "$PREFIX/bin/gateway is $version"
}

fill() { # make a venv without pip, which holds only packages that the gateway imports
    chmod 755 "$1"
    "$PYTHON" -m venv --without-pip "$1"
    pip --python "$1/bin/python" install --require-hashes --only-binary :all: --requirement constraints.txt
    pip --python "$1/bin/python" install --no-deps --no-index "$wheel"
    # The folder is renamed later, so replace its temporary name in scripts and settings.
    grep -rlZIF "$1" "$1/bin" "$1/pyvenv.cfg" | xargs -0 -r sed -i "s|$(literal "$1")|$PREFIX/$release|g"
    "$1/bin/python" -I -m gateway --version >/dev/null
}

literal() { printf '%s\n' "$1" | sed 's/[][\.*^$|]/\\&/g'; } # quote a text for sed, so that it matches only itself

point() { # TARGET LINK: make or replace a link atomically
    [ -L "$root/$2" ] || [ ! -e "$root/$2" ] || fail "$PREFIX/$2 is not a link of ours: move it away"
    record "$2"
    new=$(mktemp -u "$root/$(dirname "$2")/.$NAME.XXXXXXXX") # an unused name
    ln -s "$1" "$new"
    mv -T "$new" "$root/$2"
}

prune() { # remove our releases, except current, previous, and those in which a process still runs
    releases=$(grep '^releases/' "$root/$LIST")
    for name in $releases; do
        [ "$name" = "$(readlink "$root/current")" ] || [ "$name" = "$(readlink "$root/previous")" ] ||
            grep -qsF -e "$PREFIX/$name/bin/python" -e "$root/$name/bin/python" /proc/[0-9]*/cmdline || drop "$name"
    done
}

drop() { # remove one thing that the list names
    case $1 in
    */../* | */.. | */*/*) ;; # not a path of ours: the list was edited
    releases/[A-Za-z0-9]* | releases/.new.[0-9]*) [ -L "$root/releases" ] || rm -rf "${root:?}/$1" ;;
    bin/gateway) [ -L "$root/bin" ] || [ ! -L "$root/$1" ] || rm -f "$root/$1" ;;
    current | previous) [ ! -L "$root/$1" ] || rm -f "$root/$1" ;;
    esac
    forget "$1"
}

# --- the service

LOGROTATE=/etc/logrotate.d/$NAME
FILES="/usr/local/lib/systemd/system/$NAME.service /usr/local/lib/systemd/system/$NAME.socket /usr/local/lib/sysusers.d/$NAME.conf
    /usr/local/bin/gateway /usr/local/share/bash-completion/completions/gateway /usr/local/share/zsh/site-functions/_gateway
    /usr/local/share/fish/vendor_completions.d/gateway.fish"

service() {
    places
    [ -n "$DESTDIR" ] || [ "$(id -u)" = 0 ] || fail "only root can install a service; to prepare one in another root, set DESTDIR=/folder"
    [ -f "$root/$LIST" ] && [ -L "$root/current" ] || fail "there is no release in $PREFIX yet: make install PREFIX=$PREFIX"
    lock "$root" 9
    mkdir -p "$SERVICE"
    lock "$SERVICE" 8
    take_service
    put 644 "systemd/$NAME.service" "/usr/local/lib/systemd/system/$NAME.service"
    put 644 "systemd/$NAME.socket" "/usr/local/lib/systemd/system/$NAME.socket"
    put 644 "systemd/$NAME.sysusers.conf" "/usr/local/lib/sysusers.d/$NAME.conf"
    put 755 systemd/gateway.sh /usr/local/bin/gateway
    completion bash /usr/local/share/bash-completion/completions/gateway
    completion zsh /usr/local/share/zsh/site-functions/_gateway
    completion fish /usr/local/share/fish/vendor_completions.d/gateway.fish
    group=
    if [ -z "$DESTDIR" ]; then
        systemd-sysusers "/usr/local/lib/sysusers.d/$NAME.conf"
        group="--group=$NAME"
        [ ! -d /run/systemd/system ] || systemctl daemon-reload
    fi
    install -d -m 750 $group "$ETC"
    install -d -m 700 "$ETC/credentials"
    [ -e "$ETC/gateway.toml" ] || install -m 640 $group config/service.toml "$ETC/gateway.toml"
    install -m 644 config/gateway.schema.json "$ETC/gateway.schema.json"
    if [ ! -e "$DESTDIR$LOGROTATE" ]; then
        put 644 "systemd/$NAME.logrotate" "$LOGROTATE"
        sed -i "\\| $LOGROTATE\$|d" "$SERVICE/installed"
        echo "$(digest "$DESTDIR$LOGROTATE") $LOGROTATE" >>"$SERVICE/installed"
    fi
    [ -n "$DESTDIR" ] || next
}

owner() { # print the PREFIX that the installed service belongs to; nothing if no service is installed
    if [ -f "$SERVICE/installed" ]; then
        sed -n 's|^prefix ||p' "$SERVICE/installed"
    else # an older install.sh without a list may have installed it
        sed -n 's|^ExecStart=\(/.*\)/bin/gateway serve$|\1|p' "$UNITS/$NAME.service" 2>/dev/null || true
    fi
}

take_service() { # continue only if every file of the service is ours or does not exist yet
    owner=$(owner)
    [ -z "$owner" ] || [ "$owner" = "$PREFIX" ] || [ ! -e "$DESTDIR$owner/bin/gateway" ] ||
        fail "the installed service belongs to the gateway in $owner: make uninstall PREFIX=$owner removes it"
    if [ ! -f "$SERVICE/installed" ]; then
        echo "$HEADER" >"$SERVICE/installed.new"
        for file in $FILES; do
            [ ! -e "$DESTDIR$file" ] || [ -n "$owner" ] || fail "$file is there, and this script did not make it: move it away"
            [ ! -e "$DESTDIR$file" ] || echo "file $file" >>"$SERVICE/installed.new"
        done
        if [ -n "$owner" ] && adapted "systemd/$NAME.logrotate" | cmp -s - "$DESTDIR$LOGROTATE"; then
            echo "$(digest "$DESTDIR$LOGROTATE") $LOGROTATE" >>"$SERVICE/installed.new"
        fi
    else
        sed '/^prefix /d' "$SERVICE/installed" >"$SERVICE/installed.new"
    fi
    echo "prefix $PREFIX" >>"$SERVICE/installed.new"
    mv "$SERVICE/installed.new" "$SERVICE/installed"
}

digest() { sha256sum <"$1" | cut -d " " -f 1; }

adapted() { sed "s|/opt/legitmark-gateway|$PREFIX|g" "$1"; } # print a file of the checkout with the paths of this installation

put() { # MODE SOURCE FILE
    install_file "$1" "$3" adapted "$2"
}

completion() { # SHELL FILE
    install_file 644 "$2" "$root/current/bin/python" -I -m gateway completion "$1"
}

install_file() { # MODE FILE COMMAND...: record the file as ours, and write the output of the command into it
    mode=$1 file=$2
    shift 2
    if ! grep -qxF "file $file" "$SERVICE/installed"; then
        [ ! -e "$DESTDIR$file" ] || fail "$file is there, and this script did not make it: move it away"
        [ "$file" = "$LOGROTATE" ] || echo "file $file" >>"$SERVICE/installed"
    fi
    mkdir -p "$DESTDIR${file%/*}"
    new=$(mktemp "$DESTDIR${file%/*}/.$NAME.XXXXXXXX") # not $file.new, which may belong to somebody else
    "$@" >"$new" || { rm -f "$new"; fail "$file could not be written"; }
    chmod "$mode" "$new"
    mv "$new" "$DESTDIR$file"
}

next() {
    if systemctl is-active --quiet "$NAME"; then
        echo "The previous release keeps running until: systemctl restart $NAME"
    elif [ ! -e "$ETC/credentials/legitmark" ]; then
        echo "Next: put Legitmark's signing secret (whsec_...) into $ETC/credentials/legitmark, mode 600; then"
        echo "      gateway check && systemctl enable --now $NAME.socket $NAME.service"
    else
        echo "Next: gateway check && systemctl enable --now $NAME.socket $NAME.service"
    fi
}

# --- removal

uninstall() {
    places
    if [ -d "$root" ]; then
        lock "$root" 9
        if [ ! -f "$root/$LIST" ] && earlier; then
            { echo "$HEADER"; everything; } >"$root/$LIST"
        fi
    fi
    [ -f "$root/$LIST" ] || [ "$(owner)" = "$PREFIX" ] || fail "this script has not installed a gateway in $PREFIX: nothing was removed"
    [ "$(owner)" != "$PREFIX" ] || remove_service
    if [ -f "$root/$LIST" ]; then
        names=$(grep -v '^#' "$root/$LIST" || true)
        for name in $names; do
            drop "$name"
        done
        rm -f "$root/$LIST"
        for folder in "$root/releases" "$root/bin" "$root"; do
            rmdir "$folder" 2>/dev/null || true
        done
    fi
    echo "Not removed: $ETC, /var/lib/$NAME, /var/log/$NAME, and the user $NAME"
}

remove_service() {
    [ ! -d "$SERVICE" ] || lock "$SERVICE" 8
    [ -n "$DESTDIR" ] || systemctl disable --now "$NAME.service" "$NAME.socket" 2>/dev/null || true
    for file in $FILES; do
        [ -f "$SERVICE/installed" ] && ! grep -qxF "file $file" "$SERVICE/installed" || rm -f "$DESTDIR$file"
    done
    if [ -e "$DESTDIR$LOGROTATE" ]; then
        if grep -qsxF "$(digest "$DESTDIR$LOGROTATE") $LOGROTATE" "$SERVICE/installed"; then
            rm -f "$DESTDIR$LOGROTATE"
        else
            say "$LOGROTATE was not removed: it was edited, or this script did not make it"
        fi
    fi
    rm -f "$SERVICE/installed" "$SERVICE/installed.new"
    rmdir "$SERVICE" 2>/dev/null || true
    [ -n "$DESTDIR" ] || [ ! -d /run/systemd/system ] || systemctl daemon-reload
}

case ${1:-} in
package | release | service | uninstall) "$1" ;;
*) fail "usage: install.sh package | release | service | uninstall" ;;
esac
