# Names the modules that are loaded, and those that are part of the kernel.

cut -d' ' -f1 /proc/modules || exit 1
sed -n 's#^.*/\([^/]*\)\.ko.*$#\1#p' "/lib/modules/$(uname -r)/modules.builtin" 2>/dev/null
:
