mkdir -p from/example.com~good from/example.com~bad from/.hidden
memory_driver >from/example.com~good/good
echo settings >from/example.com~good/settings
printf '#!/bin/sh\necho "{\\"status\\": \\"Failure\\", \\"message\\": \\"no kernel module\\"}"\n' >from/example.com~bad/bad
memory_driver >from/flat
say all drivers of a directory, those that fail here too
flexvol driver install --from from --vendor example.org --health-file health
find plugins | sort
flexvol driver list
say only what differs
echo '# newer' >>from/flat
flexvol driver install --from from --vendor example.org
say what fails is refused on demand, and the rest installed all the same
echo '# newer' >>from/example.com~bad/bad
flexvol driver install --from from --require-init
say a digest that is not met
flexvol driver install from/flat --name example.org/flat --sha256 0000000000000000000000000000000000000000000000000000000000000000
flexvol driver upgrade from/flat --name example.org/flat --sha256 "$(sha256sum from/flat | cut -d' ' -f1)"
flexvol driver upgrade from/flat --name example.org/other
say a program that somebody has changed is shown
echo '# changed' >>plugins/example.org~flat/flat
flexvol driver list
say the health file
flexvol driver health --health-file health | sed 's/looked .* ago/looked lately/'
sed 's/"lookedAt": [0-9]*/"lookedAt": 1/' health >old
"$FLEXVOL" driver health --health-file old >/dev/null || echo "an old one: exit code $?"
flexvol driver health --health-file nothing
say all away, but for what was changed since
flexvol driver remove --installed-by nobody
flexvol driver remove --installed-by flexvol
find plugins | sort
