memory_driver '[ "$1" = unmount ] && [ -e busy ] && { echo "{\"status\": \"Failure\", \"message\": \"still in use\"}"; exit 1; }' |
    sed "s|-e busy|-e $DIR/busy|" | driver example.com/memory
pod web example.com/memory >pod.yaml
touch busy
flexvol mount -f pod.yaml
say it stays on record
flexvol unmount -f pod.yaml
flexvol status
say a command cannot hide it
flexvol run -f pod.yaml -- true
rm busy
say and goes with the next call
flexvol unmount -f pod.yaml
flexvol status
say also after a command
touch busy
flexvol run -f pod.yaml -- true
flexvol run -f pod.yaml -- sh -c 'exit 7'
rm busy
flexvol unmount -f pod.yaml
