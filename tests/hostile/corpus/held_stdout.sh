# End, and leave the streams open in a process that lives on.
sleep 60 &
echo over
exit 3
