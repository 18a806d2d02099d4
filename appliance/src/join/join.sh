#!/bin/sh
# Rackwright: makes a server that runs Debian a node of @SITE@, with its disks as they are.
# There is no secret in here; whoever pasted the line has checked this text by its SHA-256.
set -eu

http='@HTTP@'
sum='@SHA256@'
new=/usr/bin/.rackwright-agent.joining

stop() {
    printf 'rackwright: %s\n' "$1" >&2
    printf 'rackwright: nothing was changed. Next: %s\n' "$2" >&2
    exit 1
}
get() {
    if command -v curl >/dev/null 2>&1; then curl -fsS -o "$2" "$1"; else wget -qO "$2" "$1"; fi
}

[ "$(id -u)" = 0 ] || stop 'only root can do this' 'become root (su -, or sudo -i) and paste the line again'
[ "$(uname -m)" = x86_64 ] || stop "this is a $(uname -m), and the agent is made for x86-64" \
    'let the server boot from the network instead'
[ -n "${RACKWRIGHT_TOKEN:-}" ] || stop 'the token is missing' 'paste the whole line that rackwright node adopt has printed'

trap 'rm -f "$new"' EXIT
get "$http/join/rackwright-agent" "$new" || stop "the agent could not be fetched from $http, or /usr is full" \
    'see the message above; is the controller reached from here?'
printf '%s  %s\n' "$sum" "$new" | sha256sum -c --quiet - >/dev/null 2>&1 || stop \
    'what came is not the agent that was promised' 'make a new line on the controller (rackwright node adopt)'
chmod 0755 "$new"
"$new" adopt --controller '@CONTROLLER@' --ca '@CA@'
