memory_driver '[ "$1" = mount ] && sleep 1.5' | driver example.com/memory
pod web example.com/memory >pod.yaml
say a word to the one who waits
flexvol -v mount -f pod.yaml 2>&1 | grep -v INFO
flexvol unmount -f pod.yaml
say a deadline
memory_driver '[ "$1" = mount ] && exec sleep 60' | driver example.com/memory
flexvol mount -f pod.yaml --deadline 300ms
flexvol status
