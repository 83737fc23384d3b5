#!/bin/sh
# The command in every user's PATH. systemd gives credentials only to the service. In root's shell, commands that need one
# (check, send) read it from the folder that the unit loads it from.
folder=/etc/legitmark-gateway/credentials
[ -n "${CREDENTIALS_DIRECTORY:-}" ] || [ ! -r "$folder" ] || export CREDENTIALS_DIRECTORY="$folder"
exec /opt/legitmark-gateway/bin/gateway "$@"
