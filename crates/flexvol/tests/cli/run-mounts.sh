memory_driver | driver example.com/memory
mkdir -p "$DIR/existing/deep" "$DIR/real"
ln -s real link
cat >pod.yaml <<END
kind: Pod
metadata: {name: web}
spec:
  containers:
  - name: app
    volumeMounts:
    - {name: a, mountPath: $DIR/existing/deep/er/path}
    - {name: a, mountPath: $DIR/existing/deep/er/path/inner, subPath: x/y}
    - {name: b, mountPath: $DIR/link}
    - {name: b, mountPath: $DIR/ro, readOnly: true}
  - name: file
    volumeMounts: [{name: a, mountPath: $DIR/pod.yaml}]
  - name: climber
    volumeMounts: [{name: a, mountPath: $DIR/real, subPath: out/x}]
  volumes:
  - {name: a, flexVolume: {driver: example.com/memory}}
  - {name: b, flexVolume: {driver: example.com/memory, readOnly: false}}
END
flexvol run -f pod.yaml -- sh -c '
    touch existing/deep/er/path/1 existing/deep/er/path/inner/2 link/3
    find existing link/ ro | sort
    touch ro/4
    touch existing/here && rm existing/here
    touch existing/deep/here
    touch here'
say nothing is left on this machine
find existing link/ ro here
say a mountPath that is a file
flexvol run -f pod.yaml --container file -- true
say a subPath through a symlink that a container has made
flexvol mount -f pod.yaml
ln -s "$DIR" root/pods/default.web/volumes/example.com~memory/a/out
flexvol run -f pod.yaml --container climber -- true
ls -d x
flexvol unmount -f pod.yaml
