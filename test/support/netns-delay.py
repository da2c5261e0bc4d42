"""Delays what passes between pairs of network interfaces, in both directions: python3 netns-delay.py MILLISECONDS A:B [A:B ...]

Runs in the namespace of a test network's switch (netns.ts), where the kernel has no netem. Frames are taken from one interface and
put on the other after the delay, in order, with the kernel's own offload header, so that unfinished checksums and large segments
survive. Prints "ready" once it listens, and ends with its standard input. Python, because Node opens no packet sockets.
"""
import heapq
import select
import socket
import sys
import time

ETH_P_ALL = 3
SOL_PACKET, PACKET_VNET_HDR, PACKET_OUTGOING = 263, 15, 4
FRAME_MAX = 1 << 17

delay = float(sys.argv[1]) / 1000
opposite = {}
for pair in sys.argv[2:]:
    ends = []
    for name in pair.split(":"):
        end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        end.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        end.bind((name, ETH_P_ALL))
        end.setblocking(False)
        ends.append(end)
    opposite[ends[0]], opposite[ends[1]] = ends[1], ends[0]

waiting, order = [], 0
print("ready", flush=True)
while True:
    wait = max(0, waiting[0][0] - time.monotonic()) if waiting else None
    readable, _, _ = select.select([sys.stdin, *opposite], [], [], wait)
    if sys.stdin in readable:
        break
    for end in readable:
        while True:
            try:
                frame, address = end.recvfrom(FRAME_MAX)
            except BlockingIOError:
                break
            if address[2] != PACKET_OUTGOING:
                order += 1
                heapq.heappush(waiting, (time.monotonic() + delay, order, opposite[end], frame))
    while waiting and waiting[0][0] <= time.monotonic():
        _, _, end, frame = heapq.heappop(waiting)
        try:
            end.send(frame)
        except OSError:
            pass  # a full queue or an interface that is down: lost, as on any network
