#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# live.bash ADDRESS PORT N: open N connections to an echo that begins each answer with its name, then
# for each line of standard input send a line on each and print "lost L names NAME..." in their order.
trap '' PIPE # a connection that broke is counted, no end
n=$3
fds=()
for ((i = 0; i < n; i++)); do
	exec {fd}<>"/dev/tcp/$1/$2" || exit 1
	fds+=("$fd")
done
round() {
	local lost=0 names= fd line name
	for fd in "${fds[@]}"; do
		echo "round" 1>&"$fd" 2>/dev/null
	done
	for fd in "${fds[@]}"; do
		name=
		read -r -t 3 name line <&"$fd" || lost=$((lost + 1))
		names+=" ${name:-none}"
	done
	echo "lost $lost names$names"
}
round
while read -r _; do round; done
