# A driver that keeps volumes, as far as a line of text each goes, and says aloud what it was told.
driver example.com/shelf <<'END'
#!/bin/sh
here=${0%/*}
said() { printf '%s' "$2" | sed -n "s|.*\"$1\":\"\([^\"]*\)\".*|\1|p"; }
volume() { echo "{\"id\":\"$1\",\"pool\":\"shelf\",\"state\":\"ready\",\"kind\":\"thin\",\"size\":$2,\"used\":4096,\"device\":\"/shelf/$1\",\"options\":{\"size\":\"$2\",\"shelf\":\"top\",\"volumeID\":\"$1\"}$3}"; }
case $1 in
init) echo '{"status": "Success", "capabilities": {"attach": false}}'; exit ;;
expandfs) echo "expandfs $4 $5 $6" >>"$here/told" ;;
expandvolume) echo "expandvolume $3 $4 $5" >>"$here/told" ;;
*) printf '%s\n' "$1 $2" | sed 's/"kubernetes.io\/readwrite":"rw",*//' >>"$here/told" ;;
esac
name=$(said kubernetes.io/pvOrVolumeName "$2")
case $1 in
createvolume)
    [ "$name" != full ] || { echo '{"status": "Failure", "message": "the shelf is full"}'; exit; }
    echo "{\"status\":\"Success\",\"volume\":$(volume "$name" 1048576 ",\"source\":\"$(said source "$2")\"")}" ;;
deletevolume)
    case $name in
    notes) echo "{\"status\":\"Success\",\"volume\":$(volume notes 1048576)}" ;;
    left) echo '{"status":"Success","volume":{"id":"left","orphan":"halfMade"}}' ;;
    odd) echo '{"status":"Failure","message":"odd is not mine"}' ;;
    *) echo '{"status":"Success"}' ;;
    esac ;;
listvolumes)
    notes=$(volume notes 1048576)
    mounted=$(volume mounted 2097152 ',"mounts":["/m"],"inUseBy":["mounted at /m"]')
    case $name in
    "") echo "{\"status\":\"Success\",\"volumes\":[$notes,$mounted,{\"id\":\"left\",\"orphan\":\"halfMade\",\"created\":1},{\"id\":\"odd\",\"orphan\":\"noRecord\",\"created\":1},{\"id\":\"evil\u001b[2J\",\"state\":\"tired\",\"note\":\"line\u000ato line\"}]}" ;;
    notes) echo "{\"status\":\"Success\",\"volumes\":[$notes]}" ;;
    mounted) echo "{\"status\":\"Success\",\"volumes\":[$mounted]}" ;;
    liar) echo '{"status":"Success","volumes":[{"id":"another"}]}' ;;
    *) echo '{"status":"Success","volumes":[]}' ;;
    esac ;;
getcapacity) echo '{"status":"Success","capacity":{"pool":"shelf","total":10485760,"free":5242880,"reserved":1048576,"thin":{"total":3145728,"used":8192},"metadata":{"total":100,"used":93},"warnings":["the shelf bends"]}}' ;;
diagnose) echo "{\"status\":\"Success\",\"findings\":[{\"severity\":\"good\",\"subject\":\"shelf\",\"what\":\"is there\"},{\"severity\":\"warning\",\"subject\":\"shelf\",\"what\":\"bends\u001b[2J\",\"remedy\":\"take something off\"}$(cat "$here/problem" 2>/dev/null)]}" ;;
expandfs | expandvolume) echo '{"status":"Success"}' ;;
*) echo '{"status":"Not supported"}' ;;
esac
END
memory_driver | driver example.com/memory
driver example.com/old <<'END'
#!/bin/sh
[ "$1" = init ] && echo '{"status": "Success", "capabilities": {"attach": false}}' && exit
echo usage: mount, unmount
exit 1
END
told() { cat plugins/example.com~shelf/told; rm plugins/example.com~shelf/told; }
# Ages grow from day to day.
flexvol_list() { flexvol volume list "$@" 2>&1 | sed 's/ [0-9]*d$/ AGE/'; }
say list, of all drivers and of one
flexvol_list
told
flexvol_list --driver shelf --orphans shelf=top
told
flexvol volume list --driver example.com/memory
flexvol volume list --driver old
flexvol volume list --driver shelv
flexvol volume list shelf=top
flexvol volume list --driver shelf --output json 2>&1 | head -n 12
say show
flexvol volume show mounted --driver shelf
flexvol volume show nothing --driver shelf
flexvol volume show liar --driver shelf
flexvol volume show "" --driver shelf
rm plugins/example.com~shelf/told
say create
flexvol volume create new --driver shelf --size 1Mi --fs-type xfs shelf=top
told
flexvol volume create full --driver shelf --size 1Mi
flexvol volume create new --driver shelf --size 1Mi size=2Mi
flexvol volume create new --driver shelf --size 0
flexvol volume create new --driver shelf --size -1
flexvol volume create new --driver shelf --size 10m
flexvol volume create new --driver shelf --size 1MB
flexvol volume create "" --driver shelf --size 1Mi
flexvol volume create new --driver shelf size
flexvol volume create new
flexvol volume create new --driver memory --size 1Mi
rm plugins/example.com~shelf/told
say copy
flexvol volume snapshot notes monday --driver shelf
flexvol volume snapshot nothing monday --driver shelf
told
say resize, mounted and not, and never smaller
flexvol volume resize notes 3Mi --driver shelf | head -n 1
flexvol volume resize mounted 3Mi --driver shelf | head -n 1
flexvol volume resize mounted 1Mi --driver shelf
told
say delete
flexvol volume delete notes --driver shelf --erase zero
flexvol volume delete nothing --driver shelf
flexvol volume delete odd --driver shelf
flexvol volume delete left --driver shelf --orphan halfMade
flexvol volume delete left --driver shelf --orphan halfMade --yes
flexvol volume delete left --driver shelf --orphan because
flexvol volume delete left --driver shelf --all-orphans
flexvol volume delete --driver shelf
told | grep delete
say all orphans, first to look at
flexvol volume delete --driver shelf --all-orphans
flexvol volume delete --driver shelf --all-orphans --yes
flexvol volume delete --driver shelf --all-orphans --min-age 1000000d
told
say by hand
flexvol call example.com/shelf getcapacity --volume '' | sed 's/after .*/after a while/'
rm plugins/example.com~shelf/told
say doctor
flexvol doctor shelf
echo ',{"severity":"problem","subject":"shelf","what":"has fallen down"}' >plugins/example.com~shelf/problem
flexvol doctor shelf --output json | tail -n 8
flexvol doctor shelf
rm plugins/example.com~shelf/told
flexvol doctor shelf fd00::7 shelf=top >/dev/null
told
flexvol doctor shelf one two
flexvol doctor example.com/memory
say what is overwritten in many calls
driver example.com/eraser <<'END'
#!/bin/sh
left=$(cat "${0%/*}/left")
case $1 in
init) echo '{"status":"Success","capabilities":{"attach":false}}' ;;
deletevolume)
    [ "$left" != 0 ] || { echo '{"status":"Success","volume":{"id":"big"}}'; exit; }
    [ "$left" = 2 ] && [ -e "${0%/*}/stuck" ] || echo $((left - 1)) >"${0%/*}/left"
    echo "{\"status\":\"Failure\",\"message\":\"$left blocks are left; call again to go on\"}" ;;
listvolumes) echo "{\"status\":\"Success\",\"volumes\":[{\"id\":\"big\",\"state\":\"removing\",\"note\":\"$left left\"}]}" ;;
esac
END
cd plugins/example.com~eraser && echo 5 >left && cd ../..
flexvol volume delete big --driver eraser
echo 5 >plugins/example.com~eraser/left
touch plugins/example.com~eraser/stuck
flexvol volume delete big --driver eraser
# an option where a file is expected
flexvol volume create notes --driver example.com/shelf --options size=1Mi || echo "exit code $?"
