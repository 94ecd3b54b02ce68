memory_driver | driver example.com/memory
pod one example.com/memory >pods.yaml
echo --- >>pods.yaml
pod two example.com/memory >>pods.yaml
flexvol run -f pods.yaml -- true
flexvol run -f pods.yaml --pod three -- true
flexvol run -f pods.yaml --pod two --container sidecar -- true
flexvol run -f pods.yaml --pod two -- true
cat >other.yaml <<END
kind: Pod
metadata: {name: other}
spec:
  containers:
  - name: app
    env: [{name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
    volumeMounts:
    - {name: data, mountPath: /flexvol-data}
    - {name: scratch, mountPath: /scratch}
  volumes:
  - {name: data, flexVolume: {driver: example.com/memory}}
  - {name: scratch, emptyDir: {}}
---
kind: Pod
metadata: {name: empty}
spec: {}
END
say other volumes, other variables
flexvol run -f other.yaml --pod other -- true
flexvol run -f other.yaml --pod other --ignore-other-volumes -- ls -d /flexvol-data /scratch
flexvol run -f other.yaml --pod empty -- true
