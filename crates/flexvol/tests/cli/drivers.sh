memory_driver >memory
say a program that is not executable yet is installed all the same
flexvol driver install memory --name example.com/memory
flexvol driver list
flexvol driver describe example.com/memory
say again, and then a newer one
flexvol driver install memory --name example.com/memory
echo '# newer' >>memory
flexvol driver install memory --name example.com/memory --output json
find plugins | sort
say away with it
flexvol driver remove example.com/memory
flexvol driver remove example.com/memory
flexvol driver list
flexvol driver describe example.com/memroy
find plugins
