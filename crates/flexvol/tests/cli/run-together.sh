memory_driver | driver example.com/memory
pod web example.com/memory >pod.yaml
say two containers share the volume and the last one unmounts it
"$FLEXVOL" run -f pod.yaml --container writer -- sh -c 'echo hello >/flexvol-data/greeting; touch started; while [ ! -e stop ]; do sleep 0.05; done' &
await test -e started
flexvol run -f pod.yaml --container reader -- cat /flexvol-data/greeting
flexvol status
say nobody takes it away
flexvol unmount -f pod.yaml
touch stop
wait
flexvol status
