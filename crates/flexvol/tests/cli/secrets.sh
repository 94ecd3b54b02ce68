MARKER=marker-7f3a-marker
ENCODED=$(printf %s "$MARKER" | base64)
cat >driver <<END
#!/bin/sh
case \$1 in
init) echo '{"status": "Success", "capabilities": {"attach": false}}' ;;
mount)
    # Who else has it on the command line?
    for process in /proc/[0-9]*; do
        [ "\$process" = "/proc/\$\$" ] || { tr '\0' ' ' <"\$process/cmdline"; echo; }
    done >$DIR/witness 2>/dev/null
    case "\$3" in *"$ENCODED"*) echo "the driver has the secret" >$DIR/told ;; esac
    [ -e $DIR/fail ] && { echo '{"status": "Failure", "message": "no"}'; exit 1; }
    mount -t tmpfs memory "\$2" && echo '{"status": "Success"}' ;;
unmount) umount "\$2" && echo '{"status": "Success"}' ;;
*) echo '{"status": "Not supported"}' ;;
esac
END
driver example.com/secret <driver
cat >pod.yaml <<END
kind: Pod
metadata: {name: web}
spec:
  containers: [{name: app, volumeMounts: [{name: data, mountPath: /flexvol-data}]}]
  volumes: [{name: data, flexVolume: {driver: example.com/secret, secretRef: {name: login}}}]
---
kind: Secret
metadata: {name: login}
type: example.com/secret
stringData: {password: $MARKER}
END
search() { grep -rlE "$MARKER|$ENCODED" log root | sed 's/^/FOUND in /'; }
for reading in tolerant strict; do
    for log in text json; do
        say "$reading $log"
        "$FLEXVOL" -vvv --log-format $log --reading $reading mount -f pod.yaml >>log 2>&1
        cat told
        echo "$(grep -c . witness | sed 's/^[1-9][0-9]*$/some/') other processes, with the secret: $(grep -cE "$MARKER|$ENCODED" witness)"
        rm told witness
        "$FLEXVOL" -vvv status -o json >>log 2>&1
        search
        "$FLEXVOL" -vvv --log-format $log --reading $reading run -f pod.yaml -- true >>log 2>&1
        "$FLEXVOL" -vvv --log-format $log --reading $reading unmount -f pod.yaml >>log 2>&1
        touch fail
        "$FLEXVOL" -vvv --log-format $log --reading $reading mount -f pod.yaml >>log 2>&1
        rm fail
        search
    done
done
say errors in a Secret do not show it
sed "s/stringData: {password: .*/data: {password: '!$MARKER'}/" pod.yaml | flexvol mount -f -
sed "s/stringData: {password: .*/data: {password: [$MARKER, '/" pod.yaml | flexvol mount -f -
sed "s/stringData: {password: .*/stringData: {password: {a: $MARKER}}/" pod.yaml | flexvol mount -f -
say and a call by hand neither
printf %s "$MARKER" >password
"$FLEXVOL" -vvv call example.com/secret mount --mount-dir m --secret password=password >>log 2>&1
search
