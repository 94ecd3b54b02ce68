# Without the advice, whose words are the host's.
explain() { flexvol driver explain "$@" 2>&1 | sed -e '/^  - /d' -e 's/^\(  rule [0-9]*\) .*/\1/'; }
say the answer that all users know
echo '/usr/bin/jq: error' >err
echo '{"status": "Success"}' >out
explain mount --stdout out --stderr err
say a typing error
echo '{"status": "Succes"}' | explain init --stdout - --output json | grep -E '"(call|outcome|reply|error)"'
say as documented
explain unmount --stdout out
say stopped, killed
explain waitforattach --timed-out
explain attach --signal 9 --stdout out
say the same silence as for nonsense
echo usage >usage
explain getvolumename --exit 1 --stdout usage --nonsense-stdout usage --nonsense-exit 1
explain mount --stdout nothing
