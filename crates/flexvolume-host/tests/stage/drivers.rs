//! Well-behaved drivers as scripts. Each notes its calls in `@STATE@/log`, and in `order` together with
//! the others.

/// Mounts a tmpfs for each pod; refuses to mount twice.
pub(crate) const PLAIN: &str = r#"#!/bin/sh
echo "$1" >> @STATE@/log
echo "${0##*/} $1" >> @STATE@/../order
ok() { echo '{"status":"Success"}'; exit 0; }
fail() { echo "{\"status\":\"Failure\",\"message\":\"$1\"}"; exit 0; }
case "$1" in
init) echo '{"status":"Success","capabilities":{"attach":false,"fsGroup":false}}' ;;
mount)
    mountpoint -q "$2" && fail "mounted already"
    mount -t tmpfs -o size=64k,mode=0755 plain "$2" && ok ; fail "mount failed" ;;
unmount) umount "$2" && ok ; fail "unmount failed" ;;
*) echo '{"status":"Not supported"}' ;;
esac
"#;

/// Attaches (a directory with the volume's name in `@STATE@/attached`) and mounts a tmpfs as the device; `mount` is
/// left to the host. Nothing of it may be done twice.
pub(crate) const DEVICE: &str = r#"#!/bin/sh
echo "$1" >> @STATE@/log
echo "${0##*/} $1" >> @STATE@/../order
mkdir -p @STATE@/attached
ok() { echo "{\"status\":\"Success\"$1}"; exit 0; }
fail() { echo "{\"status\":\"Failure\",\"message\":\"$1\"}"; exit 0; }
name_in() { printf '%s' "$1" | sed 's/.*"kubernetes.io\/pvOrVolumeName":"\([^"]*\)".*/\1/'; }
case "$1" in
init) ok ',"capabilities":{"attach":true,"fsGroup":false}' ;;
attach)
    mkdir -p "@STATE@/attached/$(name_in "$2")" && ok ",\"device\":\"dev-$(name_in "$2")\"" ; fail "attach failed" ;;
waitforattach)
    test -d "@STATE@/attached/$(name_in "$3")" || fail "not attached"
    test "$2" = "dev-$(name_in "$3")" || fail "wrong device $2"
    ok ",\"device\":\"disk-$(name_in "$3")\"" ;;
mountdevice)
    test "$3" = "disk-$(name_in "$4")" || fail "wrong device $3"
    mountpoint -q "$2" && fail "mounted already"
    mount -t tmpfs -o size=64k,mode=0755 "$3" "$2" && ok ; fail "mount failed" ;;
unmountdevice) umount "$2" && ok ; fail "unmount failed" ;;
isattached)
    test -d "@STATE@/attached/$(name_in "$2")" && ok ',"attached":true' ; ok ',"attached":false' ;;
detach)
    test "$3" = node-1 || fail "wrong node $3"
    test -d "@STATE@/attached/$2" || fail "not attached"
    rmdir "@STATE@/attached/$2" && ok ; fail "detach failed" ;;
*) echo '{"status":"Not supported"}' ;;
esac
"#;

/// Speaks the contract of Kubernetes 1.5 and refuses any other number of arguments; what it gets goes to `@STATE@/args`.
/// Its device is a directory that `attach` makes; `mount` binds it.
pub(crate) const V1: &str = r#"#!/bin/sh
echo "$1" >> @STATE@/log
printf '%s|' "$@" >> @STATE@/args; echo >> @STATE@/args
echo "$PWD $REGION" > @STATE@/surroundings
ok() { echo "{\"status\":\"Success\"$1}"; exit 0; }
fail() { echo "{\"status\":\"Failure\",\"message\":\"$1\"}"; exit 1; }
case "$1-$#" in
init-1) ok ;;
attach-2) mkdir -p @STATE@/disk && ok ',"device":"@STATE@/disk"' ; fail "attach failed" ;;
mount-4) test "$3" = @STATE@/disk || fail "wrong device $3"; mount --bind "$3" "$2" && ok ; fail "mount failed" ;;
unmount-2) umount "$2" && ok ; fail "unmount failed" ;;
detach-2) test "$2" = @STATE@/disk || fail "wrong device $2"; rmdir "$2" && ok ; fail "detach failed" ;;
*) echo "usage: $0 init | attach <json> | detach <device> | mount <dir> <device> <json> | unmount <dir>"; exit 1 ;;
esac
"#;

/// As [`DEVICE`], but `unmountdevice` wants the device, too.
pub(crate) fn device_at_unmountdevice() -> String {
    let name = r#"test "$3" = disk-pv-1 || fail "unmountdevice needs the device""#;
    DEVICE.replace("unmountdevice) ", &format!("unmountdevice) {name}; "))
}
