# Close the streams, and live on.
exec >&- 2>&- <&-
sleep 0.3
exit 3
