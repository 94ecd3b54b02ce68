#!/bin/bash
# The bridge under a real kubelet: the same pods with the same drivers through kubelet's own FlexVolume and through CSI.
#
# `cargo xtask cluster` runs this; its help says what the cluster must be. BRIDGE and LOOP are the programs flexvol-csi and loop.
set -uo pipefail
k() { "$FLEXVOL_CLUSTER_KUBECTL" "$@"; }
image=${FLEXVOL_CLUSTER_IMAGE:-localhost/flexvol/busybox:1}
kubelet=$FLEXVOL_CLUSTER_ROOT/kubelet
work=$(mktemp -d /tmp/flexvol-judge-XXXXXX)
node=$(k get nodes -o jsonpath='{.items[0].metadata.name}')
passed=0 failed=0 beside=
ok() { passed=$((passed + 1)); echo "ok      $*"; }
bad() { failed=$((failed + 1)); echo "FAILED  $*"; }
check() { local what=$1; shift; if "$@"; then ok "$what"; else bad "$what"; fi; }
silently() { "$@" >/dev/null 2>&1; }
within() { # seconds command...
  local end=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do [ $SECONDS -lt $end ] || return 1; sleep 0.2; done
}

# --- drivers -------------------------------------------------------------------------------------------------------
write_driver() { # file version: a file system in memory for each pod, that says what it was told
  cat >"$1" <<END
#!/bin/bash
calls=$work/calls version=$2
printf '%s %s\n' "\$(tr '\0' '\n' <"/proc/\$PPID/cmdline" | head -n1 | sed 's|.*/||')" "\$1" >>"\$calls"
reply() { echo "\$1"; exit; }
case \$1 in
init) reply '{"status":"Success","capabilities":{"attach":false,"fsGroup":true,"supportsMetrics":true}}' ;;
mount)
  mountpoint -q "\$2" || mount -t tmpfs -o size=4m,mode=0755 judge "\$2" 2>/dev/null || reply '{"status":"Failure","message":"mount failed"}'
  printf '%s' "\$3" | tr ',' '\n' | tr -d '{}' | sed 's/"kubernetes.io\/pod[^:]*":.*/&/' | sort >"\$2/options"
  echo "\$version" >"\$2/version"
  reply '{"status":"Success"}' ;;
unmount) ! mountpoint -q "\$2" || umount "\$2" 2>/dev/null || reply '{"status":"Failure","message":"unmount failed"}'
  reply '{"status":"Success"}' ;;
*) reply '{"status":"Not supported"}' ;;
esac
END
  chmod 755 "$1"
}
write_device_driver() { # file: volumes that are attached, and grow
  cat >"$1" <<END
#!/bin/bash
printf '%s %s\n' "\$1" "\${*:2}" >>"$work/calls.\${0##*/}"
success() { echo '{"status":"Success"'"\$1}"; exit; }
failure() { echo '{"status":"Failure","message":"'"\$1"'"}'; exit 1; }
case \$1 in
init) success ',"capabilities":{"attach":true,"requiresFSResize":false}' ;;
attach) success ',"device":"judge-of-'"\$3"'"' ;;
waitforattach) success ',"device":"'"\$2"'"' ;;
mountdevice) mountpoint -q "\$2" || mount -t tmpfs -o size=4m judge "\$2" 2>/dev/null || failure 'mount failed'; success ;;
unmountdevice) ! mountpoint -q "\$2" || umount "\$2" 2>/dev/null || failure 'unmount failed'; success ;;
expandvolume) mount -o remount,size="\$4" "\$3" 2>/dev/null || failure 'remount failed'; success ;;
detach) success ;;
*) echo '{"status":"Not supported"}'; exit 1 ;;
esac
END
  chmod 755 "$1"
}
install() { # vendor~name file
  local new=$FLEXVOL_CLUSTER_PLUGINS/.new-$1
  rm -rf "$new"; mkdir -p "$new"; cp "$2" "$new/${1#*~}"
  if [ -e "$FLEXVOL_CLUSTER_PLUGINS/$1" ]; then mv "$new/${1#*~}" "$FLEXVOL_CLUSTER_PLUGINS/$1/${1#*~}"; rmdir "$new"
  else mv "$new" "$FLEXVOL_CLUSTER_PLUGINS/$1"; fi
}
write_driver "$work/memory" one
printf '#!/bin/sh\ncase $1 in init) echo '"'"'{"status":"Success","capabilities":{"attach":false}}'"'"' ;; *) exec sleep 300 ;; esac\n' >"$work/hang"
chmod 755 "$work/hang"
printf '#!/bin/sh\nFLEXVOL_STATE_DIR=%s exec %s "$@"\n' "$work/state" "$LOOP" >"$work/loop"; chmod 755 "$work/loop"
install judge.test~memory "$work/memory"
install judge.test~hang "$work/hang"
write_device_driver "$work/disk"; cp "$work/disk" "$work/grow"
install judge.test~disk "$work/disk"
install judge.test~grow "$work/grow"
install judge.test~loop "$work/loop"
mkdir "$work/state"

# --- the bridge ------------------------------------------------------------------------------------------------------
cat >"$work/config.toml" <<'END'
[driver."judge.test/loop"]
attach = "node"
[driver."judge.test/grow"]
attach = "node"
provisioning = "template"
END
drivers='memory hang loop disk grow'
start_bridge() {
  "$BRIDGE" serve --plugin-dir "$FLEXVOL_CLUSTER_PLUGINS" --node-id "$node" --root "$work/bridge" \
    $(printf -- '--driver judge.test/%s ' $drivers) \
    --kubelet-root "$kubelet" --config "$work/config.toml" </dev/null >>"$work/bridge.log" 2>&1 &
  bridge=$!
}
cleanup() {
  k delete pod --all --wait=true --timeout=60s --grace-period=1 >/dev/null 2>&1
  k delete pvc,pv --all --wait=false >/dev/null 2>&1
  kill "$bridge" $beside 2>/dev/null; wait "$bridge" $beside 2>/dev/null
  for driver in $drivers; do k delete -f "$work/$driver.yaml" --ignore-not-found --wait=false >/dev/null 2>&1; done
  for driver in $drivers; do
    k delete csidriver "$driver.judge.test" >/dev/null 2>&1
    rm -rf "$FLEXVOL_CLUSTER_PLUGINS/judge.test~$driver"
  done
  [ -n "${KEEP:-}" ] || rm -rf --one-file-system "$work"
}
trap cleanup EXIT
[ -z "$(k get pods -o name)" ] || { echo "the cluster has pods already: it must be one for tests"; failed=1; exit 1; }
registered() { k get csinode "$node" -o jsonpath='{.spec.drivers[*].name}' | grep -qw "$1.judge.test"; }
start_bridge
for driver in $drivers; do
  "$BRIDGE" manifests --driver "judge.test/$driver" --plugin-dir "$FLEXVOL_CLUSTER_PLUGINS" --config "$work/config.toml" \
    --image example.com/flexvol-csi:1 >"$work/$driver.yaml" 2>"$work/$driver.err" || bad "manifests of $driver: $(cat "$work/$driver.err")"
  # Their image is not there to be pulled: the programs run beside the cluster.
  check "$driver: all its manifests are applied" silently k apply -f "$work/$driver.yaml"
  check "$driver: kubelet has registered it" within 30 registered "$driver"
done

# --- pods --------------------------------------------------------------------------------------------------------------
pod() { # name volume [command [read-only [more of the spec]]]
  k apply -f - >/dev/null <<END
{"apiVersion":"v1","kind":"Pod","metadata":{"name":"$1"},"spec":{"terminationGracePeriodSeconds":1,"dnsPolicy":"Default",${5:-}
 "containers":[{"name":"c","image":"$image","imagePullPolicy":"Never","volumeMounts":[{"name":"vol","mountPath":"/vol","readOnly":${4:-false}}],
  "command":["sh","-c","${3:-:}; trap 'exit 0' TERM; while :; do sleep 0.2; done"]}],"volumes":[{"name":"vol",$2}]}}
END
}
running() { [ "$(k get pod "$1" -o jsonpath='{.status.containerStatuses[0].ready}')" = true ]; }
gone() { ! k get pod "$1" >/dev/null 2>&1; }
inside() { k exec "$1" -- sh -c "$2" 2>&1; }
remove() { k delete pod "$1" --wait=false >/dev/null; within 60 gone "$1"; }
mounts_left() { grep -c "judge.test\|kubernetes.io~csi\|$work/" /proc/self/mountinfo; }
nothing_mounted() { [ "$(mounts_left)" = 0 ]; }
# What a container can see of its volume, without what differs between any two pods.
seen() {
  # Kubelet gives the volume to the group; in-tree it told the driver, too.
  inside "$1" "grep -v FsGroup /vol/options; stat -c '%u %g %a %F' /vol /vol/options; grep ' /vol ' /proc/mounts | cut -d' ' -f3-; df -k /vol | awk 'END { print \$2 }'; id -G; touch /vol/x && stat -c '%u %g %a' /vol/x" |
    sed -e "s/$1/POD/g" -e 's/[0-9a-f]\{8\}-[0-9a-f-]\{27\}/UID/g' -e "s/judge.test\\\\\?\/memory/DRIVER/"
}

k create secret generic credentials --type=judge.test/memory --from-literal=password='geheim ,"x' >/dev/null 2>&1
user='"securityContext":{"runAsUser":1000,"runAsGroup":1000,"fsGroup":2000},'
intree='"flexVolume":{"driver":"judge.test/memory","fsType":"ext4","options":{"color":"red","size":"4Mi"},"secretRef":{"name":"credentials"}}'
bridged='"csi":{"driver":"memory.judge.test","fsType":"ext4","volumeAttributes":{"color":"red","size":"4Mi"},"nodePublishSecretRef":{"name":"credentials"}}'
for way in intree bridged; do
  : >"$work/calls"
  pod "$way" "${!way}" : false "$user"
  if within 60 running "$way"; then
    seen "$way" >"$work/$way.seen"
    remove "$way" || bad "$way: the pod went"
    within 20 nothing_mounted || bad "$way: nothing is mounted: $(grep "judge.test\|kubernetes.io~csi" /proc/self/mountinfo)"
    sed 's/^[^ ]* //' "$work/calls" | grep -v init >"$work/$way.calls"
  else bad "$way: the pod runs: $(k describe pod "$way" | tail -n 4)"; fi
done
echo "--- what the container sees"; cat "$work/intree.seen" 2>/dev/null
if diff "$work/intree.seen" "$work/bridged.seen"; then ok "inline, secret, fsGroup: the container sees the same"; else bad "inline, secret, fsGroup: the container sees the same"; fi
if diff "$work/intree.calls" "$work/bridged.calls"; then ok "the driver is called alike: $(tr '\n' ' ' <"$work/bridged.calls")"; else bad "the driver is called alike"; fi
check "no secret in the bridge's log" eval '! grep -q "geheim\|Z2VoZWlt" "$work/bridge.log"'
check "no secret in events" eval '! k get events -o json | grep -q "geheim\|Z2VoZWlt"'

# --- restarts ------------------------------------------------------------------------------------------------------------
pod life "$bridged"
within 60 running life || bad "life: the pod runs"
inside life 'echo kept >/vol/file' >/dev/null
inside life 'kill 1' >/dev/null
restarted() { [ "$(k get pod life -o jsonpath='{.status.containerStatuses[0].restartCount}')" -ge 1 ]; }
check "a container that ends starts again" within 60 restarted
within 60 running life
check "and keeps its data" [ "$(inside life 'cat /vol/file')" = kept ]
kill -9 "$bridge"; wait "$bridge" 2>/dev/null
check "the bridge is killed: the pod goes on" [ "$(inside life 'cat /vol/file')" = kept ]
k delete pod life --wait=false >/dev/null; sleep 2
start_bridge
check "the pod goes once the bridge is there again" within 90 gone life
check "and leaves nothing mounted" within 20 nothing_mounted
pod upgrade "$bridged"; within 60 running upgrade || bad "upgrade: the pod runs"
write_driver "$work/memory2" two; install judge.test~memory "$work/memory2"; sleep 1
pod after "$bridged"; within 60 running after || bad "after: the pod runs"
check "the driver is replaced: the next pod has the new one" [ "$(inside after 'cat /vol/version')" = two ]
check "and the old pod its volume" [ "$(inside upgrade 'cat /vol/version')" = one ]
remove upgrade; remove after
check "both go" within 20 nothing_mounted
if [ -n "${FLEXVOL_CLUSTER_RESTART_KUBELET:-}" ]; then
  pod again "$bridged"; within 60 running again || bad "again: the pod runs"
  inside again 'echo kept >/vol/file' >/dev/null
  eval "$FLEXVOL_CLUSTER_RESTART_KUBELET" >/dev/null 2>&1 || bad "kubelet restarts"
  check "kubelet restarts: it registers the bridge again" within 60 registered memory
  # Commands in containers go through kubelet, which has just come back.
  keeps() { [ "$(inside again 'cat /vol/file')" = kept ]; }
  check "the pod has its data" within 30 keeps
  remove again; check "and goes" within 30 nothing_mounted
else echo "skipped: kubelet restarts: FLEXVOL_CLUSTER_RESTART_KUBELET is not set"; fi

# --- a driver that hangs ---------------------------------------------------------------------------------------------------
pod stuck '"csi":{"driver":"hang.judge.test"}'; sleep 3
from=$SECONDS
pod healthy "$bridged"
check "beside a driver that hangs another pod starts" within 30 running healthy
remove healthy; k delete pod stuck --wait=false --grace-period=0 --force >/dev/null 2>&1

# --- persistent volumes ------------------------------------------------------------------------------------------------------
claim() { # name source access
  k apply -f - >/dev/null <<END
{"apiVersion":"v1","kind":"List","items":[
 {"apiVersion":"v1","kind":"PersistentVolume","metadata":{"name":"$1"},"spec":{"capacity":{"storage":"64Mi"},"accessModes":["ReadWriteOnce"],
  "persistentVolumeReclaimPolicy":"Retain","storageClassName":"","claimRef":{"namespace":"default","name":"$1"},$2}},
 {"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"$1","namespace":"default"},
  "spec":{"accessModes":["ReadWriteOnce"],"storageClassName":"","volumeName":"$1","resources":{"requests":{"storage":"64Mi"}}}}]}
END
}
claim disk '"csi":{"driver":"loop.judge.test","volumeHandle":"disk","fsType":"ext4","volumeAttributes":{"size":"64Mi","directory":"'"$work"'/pool"}}'
use='"persistentVolumeClaim":{"claimName":"disk"}'
mkdir "$work/pool"
pod first "$use"
check "a persistent volume of the loop driver is mounted" within 60 running first
inside first 'echo data >/vol/file; sync' >/dev/null
full=$(inside first 'dd if=/dev/zero of=/vol/fill bs=1M count=100 2>&1; rm /vol/fill')
check "its size is enforced" grep -q "No space left" <<<"$full"
pod second "$use"
check "a second pod of the node shares it" within 60 running second
check "and sees the same data" [ "$(inside second 'cat /vol/file')" = data ]
pod reader '"persistentVolumeClaim":{"claimName":"disk","readOnly":true}'
within 60 running reader || bad "reader: the pod runs"
check "a pod that reads only cannot write" grep -q "Read-only" <<<"$(inside reader 'touch /vol/y')"
remove first; remove reader
check "the others keep it when one goes" [ "$(inside second 'cat /vol/file')" = data ]
remove second
check "the last one leaves nothing mounted" within 30 nothing_mounted
check "and no loop device" eval '! losetup -n -O BACK-FILE | grep -q "$work"'
pod third "$use"; within 60 running third || bad "third: the pod runs"
check "the data is there for the next pod" [ "$(inside third 'cat /vol/file')" = data ]
remove third

# --- figures -------------------------------------------------------------------------------------------------------------------
figures() { # pod: what kubelet tells of its volume
  k get --raw "/api/v1/nodes/$node/proxy/stats/summary" | tr -d ' \n' | grep -o "\"podRef\":{\"name\":\"$1\".*" |
    grep -o '{"time":[^{}]*"name":"vol"' | head -n 1 | grep -o '"[a-zA-Z]*":[0-9]\+' | sort
}
for way in intree bridged; do
  pod "figures-$way" "${!way}" 'head -c 1000000 /dev/zero >/vol/fill'; within 60 running "figures-$way" || bad "figures-$way: the pod runs"
done

# --- growth --------------------------------------------------------------------------------------------------------------------
claim growing '"csi":{"driver":"grow.judge.test","volumeHandle":"growing"}'
pod grows '"persistentVolumeClaim":{"claimName":"growing"}'; within 60 running grows || bad "grows: the pod runs"
k patch pv growing -p '{"spec":{"capacity":{"storage":"128Mi"}}}' >/dev/null
has_grown() { [ "$(inside "$1" "df -k /vol | awk 'END { print \$2 }'")" = $(($2 * 1024)) ]; }
check "a mounted volume grows when its persistent volume does" within 120 has_grown grows 128
check "by the driver's expandvolume: $(grep -o '^expandvolume' "$work/calls.grow" | head -n 1)" grep -q '^expandvolume .* 134217728 ' "$work/calls.grow"
claims() { [ "$(k get pvc "$1" -o jsonpath='{.status.capacity.storage}')" = "$2" ]; }
check "and its claim says so" within 60 claims growing 128Mi
remove grows
same_figures() { figures figures-intree >"$work/intree.figures"; figures figures-bridged >"$work/bridged.figures"; [ -s "$work/intree.figures" ] && cmp -s "$work"/{intree,bridged}.figures; }
check "kubelet tells the same figures of its own volume and the bridge's" within 200 same_figures
tr '\n' ' ' <"$work/bridged.figures"; echo
remove figures-intree; remove figures-bridged

# --- attached by a controller, made and grown by the sidecars --------------------------------------------------------------------
beside() { "$@" </dev/null >>"$work/beside.log" 2>&1 & beside+=" $!"; }
sidecar() { "${FLEXVOL_CLUSTER_SIDECARS:-/nonexistent}/csi-$1" --version >/dev/null 2>&1 || { echo "skipped: $2: FLEXVOL_CLUSTER_SIDECARS has no csi-$1"; return 1; }; }
controller() { # driver
  beside "$BRIDGE" serve --mode controller --driver "judge.test/$1" --plugin-dir "$FLEXVOL_CLUSTER_PLUGINS" --config "$work/config.toml" \
    --node-id "$node" --root "$work/controller-$1" --kubelet-root "$kubelet" --endpoint "unix://$work/$1.sock"
  within 20 [ -S "$work/$1.sock" ]
}
claim attached '"csi":{"driver":"disk.judge.test","volumeHandle":"attached"}'
attachment() { k get volumeattachment -o jsonpath='{.items[?(@.spec.attacher=="disk.judge.test")].metadata.name}'; }
is_attachment() { [ -n "$(attachment)" ]; }
if sidecar attacher "attach by a real controller"; then
  controller disk
  beside "$FLEXVOL_CLUSTER_SIDECARS/csi-attacher" --csi-address="$work/disk.sock" --kubeconfig="$KUBECONFIG" --timeout=300s
  pod uses '"persistentVolumeClaim":{"claimName":"attached"}'
  check "a controller attaches: the pod runs" within 90 running uses
  check "the driver's attach was told the node" grep -q "^attach .* $node\$" "$work/calls.disk"
else
  pod uses '"persistentVolumeClaim":{"claimName":"attached"}'
  check "the control plane wants the volume attached" within 60 is_attachment
  k patch volumeattachment "$(attachment)" --subresource=status --type=merge \
    -p '{"status":{"attached":true,"attachmentMetadata":{"flexvolume.device":"judge-of-'"$node"'"}}}' >/dev/null
  check "told that it is, the node mounts it" within 90 running uses
fi
check "and the device reached waitforattach and mountdevice" eval 'grep -q "^waitforattach judge-of-$node " "$work/calls.disk" && grep -q "^mountdevice .* judge-of-$node " "$work/calls.disk"'
remove uses
check "the device is unmounted when the last pod goes" within 60 grep -q '^unmountdevice' "$work/calls.disk"
if [ -n "$beside" ]; then
  is_detached() { grep -q "^detach attached $node\$" "$work/calls.disk" && ! is_attachment; }
  check "and detached by its name" within 60 is_detached
else k patch volumeattachment "$(attachment)" --type=merge -p '{"metadata":{"finalizers":null}}' >/dev/null 2>&1; k delete volumeattachment --all --wait=false >/dev/null 2>&1; fi
if sidecar provisioner "provisioning by a storage class" && sidecar resizer "growth by a claim"; then
  controller grow
  beside "$FLEXVOL_CLUSTER_SIDECARS/csi-provisioner" --csi-address="$work/grow.sock" --kubeconfig="$KUBECONFIG" --extra-create-metadata --timeout=300s
  beside "$FLEXVOL_CLUSTER_SIDECARS/csi-resizer" --csi-address="$work/grow.sock" --kubeconfig="$KUBECONFIG" --timeout=300s
  k apply -f - >/dev/null <<END
{"apiVersion":"v1","kind":"List","items":[
 {"apiVersion":"storage.k8s.io/v1","kind":"StorageClass","metadata":{"name":"judge"},"provisioner":"grow.judge.test","allowVolumeExpansion":true,
  "parameters":{"owner":"\${pvc/name}","size":"\${size}"}},
 {"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"made"},
  "spec":{"accessModes":["ReadWriteOnce"],"storageClassName":"judge","resources":{"requests":{"storage":"64Mi"}}}}]}
END
  pod made '"persistentVolumeClaim":{"claimName":"made"}'
  check "a storage class makes a volume, and a pod has it" within 90 running made
  check "its parameters are filled in" grep -q '^mountdevice .*"owner":"made".*"size":"67108864"' "$work/calls.grow"
  k patch pvc made -p '{"spec":{"resources":{"requests":{"storage":"96Mi"}}}}' >/dev/null
  check "the volume grows when its claim asks for more" within 120 has_grown made 96
  remove made; volume=$(k get pvc made -o jsonpath='{.spec.volumeName}'); k delete pvc made --wait=false >/dev/null
  is_deleted() { ! k get pv "$volume" >/dev/null 2>&1; }
  check "and is deleted with its claim" within 60 is_deleted
  k delete storageclass judge >/dev/null
fi

# --- the installer of drivers --------------------------------------------------------------------------------------------------------
if [ -n "${INSTALLER:-}" ] && [ -n "${FLEXVOL_CLUSTER_IMPORT:-}" ]; then
  root=$work/image; mkdir -p "$root/drivers/judge.test~installed"; cp "$FLEXVOL" "$root/flexvol"; cp "$work/memory" "$root/drivers/judge.test~installed/installed"
  # A program that is not static brings its libraries.
  ldd "$FLEXVOL" 2>/dev/null | grep -o '/[^ ]*' | while read -r library; do mkdir -p "$root${library%/*}"; cp -L "$library" "$root$library"; done
  mkdir "$work/oci"; tar -C "$root" --owner=0 --group=0 -cf "$work/oci/layer.tar" .
  printf '{"architecture":"%s","os":"linux","config":{"Entrypoint":["/flexvol"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
    "$(k get node "$node" -o jsonpath='{.status.nodeInfo.architecture}')" "$(sha256sum "$work/oci/layer.tar" | cut -d' ' -f1)" >"$work/oci/config.json"
  printf '[{"Config":"config.json","RepoTags":["localhost/judge/installer:1"],"Layers":["layer.tar"]}]' >"$work/oci/manifest.json"
  tar -C "$work/oci" -cf "$work/installer.tar" manifest.json config.json layer.tar
  check "the installer's image is imported" silently eval "$FLEXVOL_CLUSTER_IMPORT $work/installer.tar"
  sed -e 's|image: .*|image: localhost/judge/installer:1|' -e "s|path: /usr/libexec/.*|path: $FLEXVOL_CLUSTER_PLUGINS|" "$INSTALLER" >"$work/installer.yaml"
  k apply -f "$work/installer.yaml" >/dev/null
  check "its DaemonSet is ready" silently k -n kube-system rollout status daemonset/flexvol-driver-installer --timeout=90s
  check "and has put the driver in place" cmp "$work/memory" "$FLEXVOL_CLUSTER_PLUGINS/judge.test~installed/installed"
  pod installed '"flexVolume":{"driver":"judge.test/installed"}'
  check "kubelet mounts with it" within 60 running installed
  remove installed; k delete -f "$work/installer.yaml" --wait=true --timeout=60s >/dev/null 2>&1
  rm -rf "$FLEXVOL_CLUSTER_PLUGINS/judge.test~installed" "$FLEXVOL_CLUSTER_PLUGINS"/.flexvol* 2>/dev/null
else echo "skipped: the installer of drivers: FLEXVOL_CLUSTER_IMPORT is not set"; fi
k delete secret credentials >/dev/null
echo
[ -z "${KEEP:-}" ] || echo "kept: $work"
echo "$passed passed, $failed failed"
[ $failed = 0 ]
