umask 022
driver example.com/old <<'END'
#!/bin/sh
case $1 in
init) echo '{"status": "Success"}' ;;
attach) echo '{"status": "Success", "device": "/dev/null"}' ;;
mount) echo "{\"status\": \"Success\", \"message\": \"$2 $3 in $PWD with $REGION\"}" ;;
*) echo "usage: old init|attach|detach|mount|unmount"; exit 1 ;;
esac
END
cat >settings/default.toml <<'END'
# For all drivers.
mount-check = "strict"

[deadlines]
mount = "2m"
END
cat >settings/example.com~old.toml <<'END'
protocol = "v1"
attach = "off"

[environment]
REGION = "eu-1"
END
say what is set, where, and what was found
flexvol driver describe example.com/old
flexvol driver describe example.com/old --output json | sed -n '/"settings": /,$p' | head -20
say a call by hand is made as the settings say
flexvol call example.com/old mount --mount-dir /mnt/x --device /dev/null --output json | grep stdout
say a slip is shown, and stops this driver only
memory_driver | driver example.com/memory
sed -i s/attach/atach/ settings/example.com~old.toml
flexvol driver list --output json | grep '"name"\|why'
flexvol driver describe example.com/old
flexvol call example.com/old init
