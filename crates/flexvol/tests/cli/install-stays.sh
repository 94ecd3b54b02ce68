mkdir -p from/example.com~memory host/etc/kubernetes
memory_driver >from/example.com~memory/memory
mkdir -p host/home/kubernetes/flexvolume
say an installer that stays, and finds the plugin directory by itself
"$FLEXVOL" driver install --from from --to auto --host-root host --watch --interval 100ms --health-file health \
    --installed-by pod --remove-on-exit >printed-by-it 2>&1 &
pid=$!
await grep -q '"ready": true' health
to=host/home/kubernetes/flexvolume
find "$to" | sort
say the directory is wiped
mv "$to" wiped
await test -e "$to/example.com~memory/memory"
say a new version comes
echo '# newer' >>from/example.com~memory/memory
await cmp -s from/example.com~memory/memory "$to/example.com~memory/memory"
say a driver that cannot be installed
mkdir -p from/example.com~empty
await grep -q '"ready": false' health
flexvol driver health --health-file health | sed 's/looked .* ago/looked lately/'
"$FLEXVOL" driver health --health-file health --ready >/dev/null || echo "not ready: exit code $?"
rmdir from/example.com~empty
await grep -q '"ready": true' health
say it is told to end
kill -TERM $pid
wait $pid
echo "it ended with $?"
find "$to" | sort
head -1 printed-by-it
grep -e upgraded -e removed printed-by-it
say several places that may be it
mkdir -p host/etc/kubernetes/volumeplugins
flexvol driver install --from from --to auto --host-root host
