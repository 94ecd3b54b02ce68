memory_driver | driver example.com/memory
pod web example.com/memory >pod.yaml
say nothing yet
flexvol status
flexvol status --output json
say mounted, twice
flexvol mount -f pod.yaml
flexvol mount -f pod.yaml --output json
flexvol status
flexvol status --output json
say the driver is in use
flexvol driver remove example.com/memory
say unmounted, twice
flexvol unmount -f pod.yaml
flexvol unmount --pod default.web
flexvol unmount --pod default.web --output json
flexvol status
find root
grep ^memory /proc/self/mounts || echo no mounts
