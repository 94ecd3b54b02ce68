memory_driver >memory
say what a crash has left is cleaned up
mkdir -p plugins/.example.com~memory.tmp/example.com~memory
echo half >plugins/.example.com~memory.tmp/example.com~memory/memory
flexvol driver install memory --name example.com/memory
find plugins | sort
say but nothing else
mkdir -p plugins/.example.com~memory.tmp/example.com~memory
echo mine >plugins/.example.com~memory.tmp/example.com~memory/notes
flexvol driver install memory --name example.com/memory
echo mine >plugins/example.com~memory/notes
rm -r plugins/.example.com~memory.tmp
flexvol driver remove example.com/memory
find plugins | sort
say a crash at every step of an installation and of a removal
rm plugins/example.com~memory/notes
for point in install.written-down install.created install.staged install.published; do
    flexvol driver remove example.com/memory
    FLEXVOL_FAILPOINT=$point=abort "$FLEXVOL" driver install memory --name example.com/memory >/dev/null 2>&1
    flexvol driver list
    flexvol driver install memory --name example.com/memory
    find plugins | sort
done
FLEXVOL_FAILPOINT=remove.program=abort "$FLEXVOL" driver remove example.com/memory >/dev/null 2>&1
flexvol driver list
flexvol driver install memory --name example.com/memory
find plugins | sort
