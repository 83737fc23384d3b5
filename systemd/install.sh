#!/bin/sh
# What `make package`, `install`, `install-service` and `uninstall` do.
#
#   $PREFIX/releases/VERSION-HASH   a release with its own Python packages: made once, and never changed while something runs in it
#   $PREFIX/current, previous       links to two of them, switched by a rename: no moment without a command
#   $PREFIX/bin/gateway             the command of the current one
#
# Everything is built aside, in a folder that is removed at the end; nothing is left in the checkout.
set -eu
umask 022
cd "$(dirname "$0")/.."

PREFIX=${PREFIX:-/opt/legitmark-gateway}
DESTDIR=${DESTDIR:-}
PYTHON=${PYTHON:-python3}
NAME=legitmark-gateway
root=$DESTDIR$PREFIX

say() { echo "  $*"; }
fail() { echo "install.sh: $*" >&2; exit 1; }

# --- a release

tools() { # pip and the build backend, pinned by hash, in a venv of their own
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "Python 3.11 or later is needed: make PYTHON=python3.11 ..."
    "$PYTHON" -c 'import venv, ensurepip' 2>/dev/null || fail "Python's venv is missing: on Debian and Ubuntu, apt install python3-venv"
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM
    "$PYTHON" -m venv "$work/tools"
    pip install --require-hashes --only-binary :all: --requirement systemd/constraints.txt
}

pip() { "$work/tools/bin/python" -m pip --quiet --disable-pip-version-check --no-input "$@"; }

build() { # it tells on stderr what it has built, too
    "$work/tools/bin/hatchling" build "$@" >"$work/built" 2>&1 || { cat "$work/built" >&2; exit 1; }
}

package() {
    tools
    build --directory "$PWD/dist"
    ls dist/*
}

release() {
    case $PREFIX in
    *[!A-Za-z0-9/._+@-]*) fail "PREFIX goes into units and scripts as it is, so only letters, digits and /._+@- may be in it: $PREFIX" ;;
    /*) ;;
    *) fail "PREFIX has to begin with /: $PREFIX" ;;
    esac
    tools
    build --target wheel --directory "$work"
    wheel=$(echo "$work"/*.whl)
    version=${wheel##*/legitmark_gateway-}
    version=${version%%-*}
    release=releases/$version-$({ cat "$wheel" constraints.txt && "$PYTHON" --version; } | sha256sum | cut -c 1-8)
    if [ -d "$root/$release" ]; then
        say "$PREFIX/$release is there"
    else
        fill "$root/releases/.new"
        mv -T "$root/releases/.new" "$root/$release"
        say "$PREFIX/$release"
    fi
    before=$(readlink "$root/current" || true)
    if [ "$before" != "$release" ]; then
        [ -z "$before" ] || point "$before" "$root/previous"
        point "$release" "$root/current"
    fi
    mkdir -p "$root/bin"
    point ../current/bin/gateway "$root/bin/gateway"
    prune
    say "$PREFIX/bin/gateway is $version"
}

fill() { # a venv without pip: nothing in it but what the gateway imports
    rm -rf "$1"
    mkdir -p "${1%/*}"
    "$PYTHON" -m venv --without-pip "$1"
    pip --python "$1/bin/python" install --require-hashes --only-binary :all: --requirement constraints.txt
    pip --python "$1/bin/python" install --no-deps --no-index "$wheel"
    # It is made under one name and lives under another.
    grep -rlIF "$1" "$1/bin" "$1/pyvenv.cfg" | xargs sed -i "s|$1|$PREFIX/$release|g"
    "$1/bin/python" -I -m gateway --version >/dev/null
}

point() { # a link, in one step
    ln -sfn "$1" "$2.new"
    mv -T "$2.new" "$2"
}

prune() { # all releases but these two, and those that something still runs in
    for old in "$root"/releases/*; do
        name=releases/${old##*/}
        [ "$name" = "$(readlink "$root/current")" ] || [ "$name" = "$(readlink "$root/previous")" ] ||
            grep -qsF "$PREFIX/$name/bin/python" /proc/[0-9]*/cmdline || rm -rf "$old"
    done
}

# --- the service

UNITS=$DESTDIR/usr/local/lib/systemd/system
ETC=$DESTDIR/etc/$NAME

service() {
    [ -n "$DESTDIR" ] || [ "$(id -u)" = 0 ] || fail "a service is installed by root; or into another root: DESTDIR=/folder"
    command="$root/current/bin/python -I -m gateway"
    put 644 "systemd/$NAME.service" "$UNITS/$NAME.service"
    put 644 "systemd/$NAME.socket" "$UNITS/$NAME.socket"
    put 644 "systemd/$NAME.sysusers.conf" "$DESTDIR/usr/local/lib/sysusers.d/$NAME.conf"
    put 755 systemd/gateway.sh "$DESTDIR/usr/local/bin/gateway"
    completion bash "$DESTDIR/usr/local/share/bash-completion/completions/gateway"
    completion zsh "$DESTDIR/usr/local/share/zsh/site-functions/_gateway"
    completion fish "$DESTDIR/usr/local/share/fish/vendor_completions.d/gateway.fish"
    group=
    if [ -z "$DESTDIR" ]; then
        systemd-sysusers "$UNITS/../../sysusers.d/$NAME.conf"
        group="--group=$NAME"
        [ ! -d /run/systemd/system ] || systemctl daemon-reload
    fi
    install -d -m 750 $group "$ETC"
    install -d -m 700 "$ETC/credentials"
    [ -e "$ETC/gateway.toml" ] || install -m 640 $group config/service.toml "$ETC/gateway.toml"
    install -m 644 config/gateway.schema.json "$ETC/gateway.schema.json"
    [ -e "$DESTDIR/etc/logrotate.d/$NAME" ] || put 644 "systemd/$NAME.logrotate" "$DESTDIR/etc/logrotate.d/$NAME"
    [ -n "$DESTDIR" ] || next
}

put() { # a file with the paths of this installation
    mkdir -p "${3%/*}"
    sed "s|/opt/legitmark-gateway|$PREFIX|g" "$2" >"$3.new"
    chmod "$1" "$3.new"
    mv "$3.new" "$3"
}

completion() {
    mkdir -p "${2%/*}"
    $command completion "$1" >"$2.new"
    mv "$2.new" "$2"
}

next() {
    if systemctl is-active --quiet "$NAME"; then
        echo "The release before goes on running until: systemctl restart $NAME"
    elif [ ! -e "$ETC/credentials/legitmark" ]; then
        echo "Next: put Legitmark's signing secret (whsec_...) into $ETC/credentials/legitmark, mode 600; then"
        echo "      gateway check && systemctl enable --now $NAME.socket $NAME.service"
    else
        echo "Next: gateway check && systemctl enable --now $NAME.socket $NAME.service"
    fi
}

uninstall() {
    [ -n "$DESTDIR" ] || systemctl disable --now "$NAME.service" "$NAME.socket" 2>/dev/null || true
    rm -f "$UNITS/$NAME.service" "$UNITS/$NAME.socket" "$DESTDIR/usr/local/lib/sysusers.d/$NAME.conf" \
        "$DESTDIR/usr/local/bin/gateway" "$DESTDIR/etc/logrotate.d/$NAME" \
        "$DESTDIR/usr/local/share/bash-completion/completions/gateway" \
        "$DESTDIR/usr/local/share/zsh/site-functions/_gateway" "$DESTDIR/usr/local/share/fish/vendor_completions.d/gateway.fish"
    rm -rf "$root/releases" "$root/bin" "$root/current" "$root/previous"
    rmdir "$root" 2>/dev/null || true
    [ -n "$DESTDIR" ] || [ ! -d /run/systemd/system ] || systemctl daemon-reload
    echo "What is yours stays: $ETC, /var/lib/$NAME, /var/log/$NAME, and the user $NAME"
}

case ${1:-} in
package | release | service | uninstall) "$1" ;;
*) fail "package, release, service or uninstall" ;;
esac
