# End while the children still write.
for _ in 1 2 3 4; do
    (while :; do echo more; echo more >&2; done) &
done
echo first
exit 3
