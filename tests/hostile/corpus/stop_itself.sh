# Stop, so as never to end.
kill -STOP $$
echo went on
