memory_driver | driver example.com/memory
pod web example.com/memory >pod.yaml
for signal in TERM INT; do
    say "SIG$signal ends the command, and the volumes are unmounted"
    rm -f started
    # A shell starts what is in the background with SIGINT ignored, and then it stays so.
    env --default-signal=INT setsid "$FLEXVOL" run -f pod.yaml -- sh -c 'trap "echo cleaning up; exit 9" TERM INT; touch started; while :; do sleep 0.05; done' &
    await test -e started
    kill -$signal $!
    wait $!
    echo "exit code $?"
    flexvol status
done
say a command that does not care
rm -f started
setsid "$FLEXVOL" run -f pod.yaml -- sh -c 'touch started; exec sleep 60' &
await test -e started
kill -TERM $!
wait $!
echo "exit code $?"
flexvol status
say a signal while the volumes are mounted
memory_driver '[ "$1" = mount ] && touch '"$DIR"'/mounting && sleep 1' | driver example.com/memory
setsid "$FLEXVOL" run -f pod.yaml -- echo not started &
await test -e mounting
kill -TERM $!
wait $!
echo "exit code $?"
flexvol status
