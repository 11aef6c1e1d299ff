"""A network of namespaces: client, one or two routers, server, in a line.

Every node calls its link towards the client `left` and its link towards the server `right`.
This module knows nothing of Nucleus but its two ports. Namespaces are named after this process.
`Net.close` removes them, and `sweep` removes those of a rig that was killed.
"""

import json
import os
import pathlib
import re
import subprocess

PREFIX = "nrig"
COMMAND_TIMEOUT = 10
# The NAT's outside ports. They are below the range of ephemeral ports, so that a mapping never uses
# a port of the router's own sockets.
FIRST_NAT_PORT, NAT_PORTS = 20_000, 1_000

# Rules that count the packets that pass through the router, after all rules that drop packets.
COUNTERS = """
table inet count {
    counter up5055 {}
    counter up5056 {}
    counter down5055 {}
    counter down5056 {}
    chain forward {
        type filter hook forward priority 100;
        iifname "left" udp dport 5055 counter name up5055
        iifname "left" udp dport 5056 counter name up5056
        oifname "left" udp sport 5055 counter name down5055
        oifname "left" udp sport 5056 counter name down5056
    }
}
"""


class RigError(Exception):
    """An error of the rig itself, which is no fault of Nucleus."""


def command(*words, stdin=None, check=True):
    """Runs a short command and returns its standard output."""
    try:
        done = subprocess.run(
            words, input=stdin, capture_output=True, text=True, timeout=COMMAND_TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RigError(f"{' '.join(words)}: {error}") from error
    if check and done.returncode != 0:
        reason = done.stderr.strip().partition("\n")[0] or f"exit code {done.returncode}"
        raise RigError(f"{' '.join(words)}: {reason}")
    return done.stdout


def sweep():
    """Removes the namespaces of rigs that were killed."""
    for name in command("ip", "netns", "list").split():
        owner = re.match(rf"{PREFIX}-(\d+)-", name)
        if owner and not pathlib.Path(f"/proc/{owner[1]}").exists():
            command("ip", "netns", "del", name, check=False)


class Net:
    """The namespaces of one case."""

    def __init__(self, case, routers=1, ipv4=True, ipv6=True):
        self.nodes = ["c", *(f"r{n + 1}" for n in range(routers)), "s"]
        self.name = f"{PREFIX}-{os.getpid()}-{case}"
        self.ipv4, self.ipv6 = ipv4, ipv6
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def close(self):
        """Removes the namespaces. A process inside a namespace keeps that namespace alive."""
        for node in self.nodes:
            command("ip", "netns", "del", self.ns(node), check=False)

    def ns(self, node):
        """Returns the namespace of a node."""
        return f"{self.name}-{node}"

    def inside(self, node):
        """Returns the words to put before a command to run it in a node."""
        return ["ip", "netns", "exec", self.ns(node)]

    def ip(self, node, *words):
        """Configures a node with ip(8)."""
        command("ip", "-n", self.ns(node), *words)

    def sysctl(self, node, *settings):
        """Sets `key=value` in a node."""
        command(*self.inside(node), "sysctl", "-qw", *settings)

    def nft(self, node, rules):
        """Applies nftables rules, all or none."""
        command(*self.inside(node), "nft", "-f", "-", stdin=rules)

    def counter(self, node, table, name):
        """Returns the packets of a named counter."""
        text = command(*self.inside(node), "nft", "-j", "list", "counter", "inet", table, name)
        return next(o["counter"]["packets"] for o in json.loads(text)["nftables"] if "counter" in o)

    def server_ip(self, ipv6=False, host=None):
        """Returns the server's address, or that of another host in its subnet."""
        return self._address(len(self.nodes) - 1, host or 2, ipv6)

    def add_server_address(self, host):
        """Adds an IPv4 address of the same subnet to the server's interface. Returns it."""
        address = self.server_ip(host=host)
        self.ip("s", "addr", "add", f"{address}/24", "dev", "left")
        return address

    def add_server_link(self):
        """Adds a second link between router and server. The default route stays on the first."""
        self._link(("r1", "right2"), ("s", "left2"), 9)
        return self._address(9, 2, False)

    def move_client(self, host):
        """Replaces the address of the client's machine. Returns the new one."""
        old, new = self._address(1, 1, False), self._address(1, host, False)
        # Without this setting the kernel removes the new address together with the old one.
        self.sysctl("c", "net.ipv4.conf.all.promote_secondaries=1")
        self.ip("c", "addr", "add", f"{new}/24", "dev", "right")
        self.ip("c", "addr", "del", f"{old}/24", "dev", "right")
        return new

    def drop(self, match):
        """Drops matching packets in the first router, including those of known flows."""
        self.nft("r1", f"""
            table inet block {{
                chain forward {{ type filter hook forward priority -10; {match} drop; }}
            }}""")

    def undrop(self):
        """Removes the rules of `drop`."""
        self.nft("r1", "delete table inet block")

    def nat(self, generation):
        """Translates the client's UDP source ports to ports that no other generation uses."""
        low = FIRST_NAT_PORT + generation % 10 * NAT_PORTS
        outside = f"{self._address(2, 1, False)}:{low}-{low + NAT_PORTS - 1}"
        # A NAT silently drops packets without a mapping. Without this rule the router would answer
        # with ICMP.
        self.nft("r1", f"""
            table ip nat {{
                chain post {{ type nat hook postrouting priority srcnat; }}
                chain input {{ type filter hook input priority 0; }}
            }}
            flush table ip nat
            add rule ip nat post ip saddr 10.77.1.0/24 meta l4proto udp snat to {outside}
            add rule ip nat input iifname "right" meta l4proto udp ct state new drop""")

    def forget_mappings(self):
        """Makes the NAT forget every UDP flow, as a restart does."""
        command(*self.inside("r1"), "conntrack", "-D", "-p", "udp", check=False)

    def mappings(self, port):
        """Returns pairs (client's own port, port that the server sees) of flows to `port`."""
        words = ["conntrack", "-L", "-p", "udp", "--orig-port-dst", str(port)]
        lines = command(*self.inside("r1"), *words).splitlines()
        ports = [re.findall(r"[sd]port=(\d+)", line) for line in lines if "10.77.1." in line]
        return {(int(p[0]), int(p[3])) for p in ports if len(p) == 4}

    def narrow(self, mtu):
        """Sets an MTU between two routers that neither end can see, and drops the ICMP about it."""
        self.ip("r1", "link", "set", "dev", "right", "mtu", str(mtu))
        self.ip("r2", "link", "set", "dev", "left", "mtu", str(mtu))
        silence = """
            table inet narrow {
                counter fragments {}
                counter large5056 {}
                chain output {
                    type filter hook output priority 0;
                    icmp type destination-unreachable icmp code frag-needed drop
                    icmpv6 type packet-too-big drop
                }
                chain forward {
                    type filter hook forward priority 0;
                    ip frag-off & 0x3fff != 0 counter name fragments drop
                    exthdr frag exists counter name fragments drop
                    udp sport 5056 meta length > 1150 counter name large5056
                }
            }"""
        for router in ("r1", "r2"):
            self.nft(router, silence)

    def _build(self):
        for node in self.nodes:
            command("ip", "netns", "add", self.ns(node))
            self.ip(node, "link", "set", "lo", "up")
            if node.startswith("r"):
                self.sysctl(node, "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1",
                            "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")
        for n, (left, right) in enumerate(zip(self.nodes, self.nodes[1:]), start=1):
            self._link((left, "right"), (right, "left"), n)
        last = len(self.nodes) - 1
        self._default_route("c", link=1, host=2)
        self._default_route("s", link=last, host=1)
        if "r2" in self.nodes:
            self._default_route("r1", link=2, host=2)
            self._default_route("r2", link=2, host=1)
        self.nft("r1", COUNTERS)

    def _link(self, left, right, number):
        (left_node, left_name), (right_node, right_name) = left, right
        command("ip", "link", "add", "name", left_name, "netns", self.ns(left_node),
                "type", "veth", "peer", "name", right_name, "netns", self.ns(right_node))
        for (node, name), host in ((left, 1), (right, 2)):
            # Send one datagram in each packet, as on a wire, so that routers see the datagram's
            # length.
            self.ip(node, "link", "set", "dev", name, "gso_max_segs", "1")
            if self.ipv4:
                address = self._address(number, host, False)
                self.ip(node, "addr", "add", f"{address}/24", "dev", name)
            if self.ipv6:
                address = self._address(number, host, True)
                self.ip(node, "addr", "add", f"{address}/64", "dev", name, "nodad")
            self.ip(node, "link", "set", "dev", name, "up")

    def _default_route(self, node, link, host):
        if self.ipv4:
            self.ip(node, "route", "add", "default", "via", self._address(link, host, False))
        if self.ipv6:
            self.ip(node, "-6", "route", "add", "default", "via", self._address(link, host, True))

    @staticmethod
    def _address(link, host, ipv6):
        return f"fd77:{link}::{host}" if ipv6 else f"10.77.{link}.{host}"
