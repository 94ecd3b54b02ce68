memory_driver >memory
flexvol driver install memory --name example.com/memory
say whoever looks while it is upgraded sees a whole driver
(
    while [ ! -e stop ]; do
        "$FLEXVOL" driver list --output json
        ls plugins
    done
) >seen &
for version in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    echo "# $version" >>memory
    "$FLEXVOL" driver install memory --name example.com/memory >/dev/null || echo "upgrade $version failed"
done
touch stop
wait
grep -c '"name": "example.com/memory"' seen | sed 's/^[1-9][0-9]*$/seen/'
grep '"why"' seen
grep -v '^[ {}\[]' seen | sort -u
flexvol driver describe example.com/memory | grep size
