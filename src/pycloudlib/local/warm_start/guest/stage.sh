#!/bin/sh
# Runs in cloud-init's units instead of `cloud-init ARGUMENTS`: requests the stage from the process that loaded cloud-init.
directory=${0%/*}
read -r server <"$directory/server"
if ! [ -p "$directory/requests" ] || ! kill -0 "$server" 2>/dev/null; then
    exec /usr/bin/cloud-init "$@"
fi
mkfifo -m 600 "$directory/answer.$$"
echo "$$ $*" >"$directory/requests"
read -r status <"$directory/answer.$$"
rm -f "$directory/answer.$$"
# The answer is empty if the process ended during the stage.
exit "${status:-1}"
