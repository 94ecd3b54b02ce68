# Grows what it mounts in memory. Of the sizes it says aloud what it was told.
driver example.com/grows <<'END'
#!/bin/sh
case $1 in
init) echo '{"status": "Success", "capabilities": {"attach": false, "supportsMetrics": true}}' ;;
mount) mount -t tmpfs -o size=4m,mode=755 memory "$2" && echo '{"status": "Success"}' ;;
unmount) umount "$2" && echo '{"status": "Success"}' ;;
expandvolume)
    echo "expandvolume ${3##*/} $4 $5" >>"${0%/*}/calls"
    [ "$4" -lt 99999999 ] || { echo '{"status": "Failure", "message": "the pool is full"}'; exit 1; }
    echo '{"status": "Success"}' ;;
expandfs)
    echo "expandfs ${4##*/} $5 $6" >>"${0%/*}/calls"
    mount -o "remount,size=$5" "$4" && echo '{"status": "Success"}' ;;
*) echo '{"status": "Not supported"}' ;;
esac
END
calls=plugins/example.com~grows/calls
told() { cat "$calls"; rm "$calls"; }
pod web example.com/grows | sed 's|driver: example.com/grows|&, options: {size: 4Mi}|' >pod.yaml
say what is not mounted, and what is no volume
flexvol resize -f pod.yaml --size 8Mi
flexvol mount -f pod.yaml
flexvol resize -f pod.yaml --volume other --size 8Mi
flexvol resize --pod default.web --volume other --size 8Mi
flexvol resize --pod default.web --size 8Mi 2>&1 | head -n 3
flexvol resize -f pod.yaml --size 8MB
flexvol resize -f pod.yaml --size 0
say grown, twice, and with the option brought up to date
flexvol resize -f pod.yaml --size 8Mi
told
sed 's/4Mi/8Mi/' pod.yaml >grown.yaml
flexvol resize -f grown.yaml --size 8Mi
flexvol resize --pod default.web --volume data --size 8Mi --output json
ls "$calls" 2>/dev/null
say never smaller
flexvol resize -f grown.yaml --size 6Mi
say the pool is full, and a size that fits after all
flexvol resize -f pod.yaml --size 1Gi
flexvol status
told
sed 's/4Mi/16Mi/' pod.yaml >grown.yaml
flexvol resize -f grown.yaml --size 16Mi
told
flexvol status
say killed, and once more
size=16
for point in resize.recorded expandvolume.called expandfs.called; do
    size=$((size + 1))
    sed "s/4Mi/${size}Mi/" pod.yaml >grown.yaml
    (FLEXVOL_FAILPOINT=lifecycle.$point=abort "$FLEXVOL" resize -f grown.yaml --size ${size}Mi || echo "killed at $point") 2>/dev/null
    flexvol status | sed 1,2d
    flexvol resize -f grown.yaml --size $((size - 1))Mi
    flexvol resize -f grown.yaml --size ${size}Mi
    told
done
flexvol status --usage | sed 's/1 of .*/1 of many/'
say how full
dd if=/dev/zero of=root/pods/default.web/volumes/example.com~grows/data/file bs=1M count=3 status=none
flexvol status --usage --output json | sed -n '/"usage"/,/}/p' | grep -v inodes
say read-only volumes stay as they are
flexvol unmount -f pod.yaml
sed 's|driver: example.com/grows|&, readOnly: true|' pod.yaml >read-only.yaml
flexvol mount -f read-only.yaml
flexvol resize -f read-only.yaml --size 8Mi
flexvol unmount -f read-only.yaml
say a driver that cannot grow anything, and whose figures are not those of the volume
memory_driver | driver example.com/memory
pod fixed example.com/memory >fixed.yaml
flexvol mount -f fixed.yaml
flexvol resize -f fixed.yaml --size 8Mi
flexvol status --usage
flexvol unmount -f fixed.yaml
flexvol status
