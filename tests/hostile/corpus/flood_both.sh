# Output without end on both streams, from many processes.
for _ in 1 2 3 4; do
    cat /dev/zero &
    cat /dev/zero >&2 &
done
wait
