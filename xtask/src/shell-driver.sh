#!/bin/sh
# A whole FlexVolume driver: an empty file system in memory.
success() {
    echo '{"status":"Success"}'
    exit 0
}
failure() {
    echo "{\"status\":\"Failure\",\"message\":\"$1\"}"
    exit 1
}
case "$1" in
init) echo '{"status":"Success","capabilities":{"attach":false}}' ;;
mount) mount -t tmpfs -o size=16m shell "$2" >&2 && success || failure "mount failed" ;;
unmount) umount "$2" >&2 && success || failure "unmount failed" ;;
*)
    echo '{"status":"Not supported"}'
    exit 1
    ;;
esac
