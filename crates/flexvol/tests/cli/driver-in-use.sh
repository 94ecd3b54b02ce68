memory_driver "echo \"old \$1\" >>$DIR/calls" >memory
flexvol driver install memory --name example.com/memory >/dev/null
pod one example.com/memory >pod.yaml
flexvol mount -f pod.yaml
say the driver is upgraded while its volume is mounted
memory_driver "echo \"new \$1\" >>$DIR/calls" >memory
flexvol driver upgrade memory --name example.com/memory >/dev/null
flexvol mount -f pod.yaml
say it is not removed unless that is wanted
flexvol driver remove example.com/memory
flexvol driver remove --installed-by flexvol
flexvol driver remove example.com/memory --force
flexvol status
flexvol unmount -f pod.yaml
flexvol status
say it is back, and what is left to undo is undone
flexvol driver install memory --name example.com/memory >/dev/null
flexvol unmount -f pod.yaml
flexvol status
grep -v init calls
