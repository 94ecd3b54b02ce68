flexvol --version
flexvol 2>&1 | head -n 4
flexvol driver 2>&1 | head -n 4
flexvol mout -f x
flexvol --root '' status
flexvol --node a/b status
flexvol --deadline soon status
flexvol driver install x
flexvol unmount
flexvol unmount --pod ../x
flexvol completions bash | head -n 1
flexvol completions fish | head -n 1
flexvol man man
ls man
say whoever has stopped reading is no error
"$FLEXVOL" --help | true
