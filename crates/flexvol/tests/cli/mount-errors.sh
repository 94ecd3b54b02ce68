memory_driver | driver example.com/memory
say a driver that is not there
pod web example.com/memroy | flexvol mount -f -
pod web acme.io/blocks >pod.yaml
flexvol mount -f pod.yaml
say a driver that does not work
printf '#!/bin/sh\nexit 3\n' | driver example.com/sick
pod web example.com/sick | flexvol mount -f -
say a driver that is only half there
mkdir plugins/example.com~half
pod web example.com/half | flexvol mount -f -
say no file, no pod, wrong words
flexvol mount -f nothing.yaml -f pod.yaml
echo 'kind: Service' | flexvol mount -f -
echo 'kind: [Pod' | flexvol mount -f - --output json
flexvol mount
say nothing was done
ls
