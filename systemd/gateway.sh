#!/bin/sh
# The command in everybody's PATH. Credentials of systemd are there for the service alone: in root's shell, commands that need
# one (check, send) take it from where the unit does.
folder=/etc/legitmark-gateway/credentials
[ -n "${CREDENTIALS_DIRECTORY:-}" ] || [ ! -r "$folder" ] || export CREDENTIALS_DIRECTORY="$folder"
exec /opt/legitmark-gateway/bin/gateway "$@"
