# Prints the owner of each place, and whether root may do everything there.

for place; do
    stat -c '%u %g' -- "$place" || echo '- -'
    if [ -r "$place" ] && [ -w "$place" ] && [ -x "$place" ]; then echo yes; else echo no; fi
done
