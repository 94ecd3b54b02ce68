memory_driver | driver example.com/memory
pod web example.com/memory >pod.yaml
say a mountPath that this machine does not have
ls -d /flexvol-data
flexvol run -f pod.yaml -- sh -c 'echo "$WHO"; echo hello >/flexvol-data/greeting; pwd; cat /flexvol-data/greeting; ls -d / /proc/1; touch /x'
ls -d /flexvol-data
flexvol status
say one container after the other
flexvol mount -f pod.yaml
flexvol run -f pod.yaml --container writer -- sh -c 'echo hello >/flexvol-data/greeting'
flexvol run -f pod.yaml --container reader -- sh -c 'cat /flexvol-data/greeting; rm /flexvol-data/greeting'
flexvol unmount -f pod.yaml
say the volume is as big as it is
flexvol run -f pod.yaml -- sh -c 'head -c 2000000 /dev/zero >/flexvol-data/big'
say exit codes
flexvol run -f pod.yaml -- sh -c 'exit 42'
flexvol run -f pod.yaml -- sh -c 'kill -9 $$'
flexvol run -f pod.yaml -- no-such-program
flexvol run -f pod.yaml -- ./pod.yaml
say standard streams are the command\'s
echo input | "$FLEXVOL" run -f pod.yaml -- cat
flexvol status
