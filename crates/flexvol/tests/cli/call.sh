driver example.com/echo <<'END'
#!/bin/sh
case $1 in
init) echo '{"status": "Success", "capabilities": {"attach": false}}' ;;
mount) echo "warning: $3" >&2; echo '{"status": "Success"}' ;;
unmount) echo '{"status": "Failure", "message": "not mounted"}'; exit 1 ;;
detach) exit 2 ;;
attach) kill -9 $$ ;;
*) printf '{"status": "Not supported"}' ;;
esac
END
driver=$DIR/plugins/example.com~echo/echo
# Without the advice, whose words are the host's, and without the place where the warning stands: which of two streams
# comes first is not known.
call() { flexvol call "$@" 2>&1 | sed -e 's/after [0-9]* ms/after N ms/' -e '/^  - /d' -e "s/character 'w' .*/character 'w'/" -e 's/^\(  rule [0-9]*\) .*/\1/'; }
call example.com/echo init
say options and secrets
printf 'correct horse\n' >password
echo '{"share": "//nas/x", "kubernetes.io/fsType": "cifs"}' >options.json
call example.com/echo mount --mount-dir m a=b --options options.json --secret password=password
say a failure, no answer, a signal, not supported
call example.com/echo unmount --mount-dir m
call example.com/echo detach
call ./plugins/example.com~echo/echo attach --output json | grep -E '"(program|ended|call|outcome|reply)"'
call example.com/echo getvolumename
say a verb that nobody knows
call example.com/echo dance
say what is wrong with these
call example.com/echo mount
call example.com/echo mount --mount-dir m secret
call example.com/none init
call ./none init
echo '{"a": 1}' | call example.com/echo mount --mount-dir m --options -
