printf '#!/bin/sh\necho "{\\"status\\": \\"Failure\\", \\"message\\": \\"no kernel module\\"}"\n' >broken
say init fails
flexvol driver install broken --name example.com/broken
flexvol driver install broken --name example.com/broken --force
flexvol driver list
flexvol driver list --output json
say no program
flexvol driver install plugins --name example.com/x
flexvol driver install nothing --name example.com/x
flexvol driver install broken --name Example.com/x
say something is in the way
memory_driver >memory
echo >plugins/example.com~file
flexvol driver install memory --name example.com/file
mkdir -p plugins/example.com~directory/directory
flexvol driver install memory --name example.com/directory
find plugins | sort
