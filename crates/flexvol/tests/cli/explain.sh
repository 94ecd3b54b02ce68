say the answer that all users know
echo '/usr/bin/jq: error' >err
echo '{"status": "Success"}' >out
flexvol driver explain mount --stdout out --stderr err
say a typing error
echo '{"status": "Succes"}' | flexvol driver explain init --stdout - --output json
say as documented
flexvol driver explain unmount --stdout out
say stopped, killed
flexvol driver explain waitforattach --timed-out
flexvol driver explain attach --signal 9 --stdout out
say the same silence as for nonsense
echo usage >usage
flexvol driver explain getvolumename --exit 1 --stdout usage --nonsense-stdout usage --nonsense-exit 1
flexvol driver explain mount --stdout nothing
