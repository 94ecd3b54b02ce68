memory_driver | driver example.com/memory
memory_driver 'case $1 in mount) echo "{\"status\": \"Failure\", \"message\": \"no such share\"}"; exit 1 ;; esac' | driver example.com/share
cat >pod.yaml <<END
kind: Pod
metadata: {name: web}
spec:
  volumes:
  - {name: one, flexVolume: {driver: example.com/memory}}
  - {name: two, flexVolume: {driver: example.com/share}}
END
say all or none
flexvol mount -f pod.yaml
flexvol status
grep "^memory" /proc/self/mounts || echo no mounts
