memory_driver | driver example.com/memory
pod web example.com/memory >pod.yaml
mkdir elsewhere
ln -s elsewhere via
flexvol --root via/root mount -f pod.yaml
flexvol --root via/root run -f pod.yaml -- ls -d /flexvol-data
flexvol --root via/root unmount -f pod.yaml
find elsewhere
