"""The rig's cases. Each gets a `World`, builds its network, runs its load and returns table rows.

The load generator measures from about 3 s after its start: a second of ramp, two to settle.
"""

import contextlib
import dataclasses
import fcntl
import pathlib
import shutil
import sys
import tempfile

from .judge import Limit, judge, judge_report, limits
from .net import Net
from .programs import Load, Program, Server, pause

WINDOW_START = 3
SHORT = 6  # seconds of measurement in a network that does not change

RMEM_MAX = pathlib.Path("/proc/sys/net/core/rmem_max")
STOCK_RMEM_MAX = 212_992
# The server calls a buffer under 1 MiB small, and the kernel doubles the requested size.
LARGE_RMEM_MAX = 512 << 10


@dataclasses.dataclass
class Settings:
    """The settings of the command line."""

    binaries: pathlib.Path
    rebind_every: float
    reports: pathlib.Path | None


class World:
    """Everything that a case starts. All of it is ended when the case ends, in reverse order."""

    def __init__(self, name, settings):
        self.name, self.settings = name, settings
        self.stack = contextlib.ExitStack()
        self.notes = []
        self.net = self.server = None

    def build(self, **options):
        """Builds the network."""
        self.net = Net(self.name, **options)
        self.stack.callback(self.net.close)
        return self.net

    def serve(self, *options, wrapper=()):
        """Starts the server and waits until it is ready."""
        directory = tempfile.mkdtemp(prefix="nucleus-rig-")
        self.stack.callback(shutil.rmtree, directory, ignore_errors=True)
        self.server = Server(self.net, self.settings.binaries, directory, *options, wrapper=wrapper)
        self.stack.callback(self.server.end)
        self.server.wait_ready()

    def load(self, ip=None, **options):
        """Starts a load generator."""
        ip = ip or self.net.server_ip()
        load = Load(self.net, self.settings.binaries, self.server, ip, **options)
        self.stack.callback(load.end)
        return load

    def judge(self, load, wanted):
        """Waits for the end of a run and returns its rows."""
        report = load.report()
        if report and self.settings.reports:
            shutil.copy(load.json, self.settings.reports / f"{self.name}.json")
        if not report:
            self.notes.append(f"no report (exit {load.process.returncode}): {load.last_words()}")
        elif not report.get("valid"):
            self.notes.append("not a valid measurement: " + "; ".join(report["invalid_reasons"]))
        self.notes += report.get("notes", [])
        rows = [] if report else [judge(Limit("report", "=", 1), 0)]
        return rows + judge_report(report, wanted) + [
            judge(Limit("server's exit code", "=", 0), self.server.end())
        ]

    def passed(self, name, operator, value):
        """Returns a row with the packets that passed through the first router."""
        packets = self.net.counter("r1", "count", name)
        return judge(Limit(f"router: {name}", operator, value), packets)


def steady_run(world, ip=None, wanted=None, **options):
    """An ordinary run in a network that does not change."""
    rows = world.judge(world.load(ip, duration=SHORT, **options), wanted or limits())
    return rows + [world.passed("up5056", ">=", 1_000), world.passed("down5056", ">=", 1_000)]


def firewall(world):
    """A stateful firewall that only passes flows of the client to 5055 and 5056."""
    net = world.build()
    net.nft("r1", """
        table inet firewall {
            chain forward {
                type filter hook forward priority 0; policy drop;
                ct state established,related accept
                iifname "left" udp dport { 5055, 5056 } ct state new accept
            }
        }""")
    world.serve()
    return steady_run(world)


def blocked(world):
    """UDP 5056 is dropped the whole time, both ways."""
    net = world.build()
    net.drop("udp dport 5056 drop; udp sport 5056")
    world.serve()
    load = world.load(duration=10)
    wanted = limits(sessions__on_fallback=("=", 10), sessions__fallbacks=None)
    return world.judge(load, wanted) + [
        world.passed("up5056", "=", 0), world.passed("down5056", "=", 0),
    ]


def blocked_for_a_while(match):
    """Returns a case in which 5056 is dropped for six seconds in mid-run, then opened again."""

    def case(world):
        net = world.build()
        world.serve()
        load = world.load(duration=15)
        load.until(WINDOW_START + 3)
        net.drop(match)
        pause(4)
        closed = net.counter("r1", "count", "up5056")
        pause(2)
        through = net.counter("r1", "count", "up5056") - closed
        net.undrop()
        pause(3)
        opened = net.counter("r1", "count", "up5056")
        pause(2)
        back = net.counter("r1", "count", "up5056") - opened
        # Poses are lost in two gaps of at most 0.7 s in 15 s, each way.
        wanted = limits(
            channels__pose__loss=("<=", 0.15), channels__pose__delivered_share=(">=", 0.8),
            sessions__fallbacks=(">=", 10),
        )
        return world.judge(load, wanted) + [
            judge(Limit("up5056 while blocked", "=", 0), through),
            judge(Limit("up5056 from 3 s after it opened", ">=", 500), back),
        ]

    return case


def nat_rebind(world):
    """A NAT that twice gives every flow a new port."""
    net, every = world.build(), world.settings.rebind_every
    net.nat(0)
    world.serve()
    load = world.load(duration=2 * every + 5)
    seen = {5055: [], 5056: []}

    def note():
        for port, generations in seen.items():
            generations.append({outside for _, outside in net.mappings(port)})

    for generation in (1, 2):
        load.until(WINDOW_START + generation * every)
        note()
        net.nat(generation)
        net.forget_mappings()
    pause(3)
    note()
    # A path challenge on 5056 makes the client send on 5055 too, at most once a second.
    rows = world.judge(load, limits(channels__event__latency_ms__max=("<=", 2_000)))
    for port, (first, second, third) in seen.items():
        flows = 10 if port == 5056 else 1
        fresh = min(len(second - first), len(third - first - second))
        rows.append(judge(Limit(f"flows to {port} with a new port, twice", ">=", flows), fresh))
    return rows


def moved(world):
    """The client's machine gets another address in mid-run and loses the old one."""
    net = world.build(ipv6=False)
    world.serve()
    load = world.load(duration=10)
    load.until(WINDOW_START + 4)
    address = net.move_client(9)
    net.nft("r1", f"""
        table inet moved {{
            counter sent {{}}
            chain forward {{
                type filter hook forward priority -5;
                ip saddr {address} udp dport 5056 counter name sent
            }}
        }}""")
    rows = world.judge(load, limits(channels__event__latency_ms__max=("<=", 2_000)))
    sent = net.counter("r1", "moved", "sent")
    return rows + [judge(Limit("packets to 5056 from the new address", ">=", 1_000), sent)]


def nat_forget(world):
    """A NAT that forgets a UDP flow after 30 s of silence, with idle headsets."""
    net = world.build()
    net.sysctl("r1", "net.netfilter.nf_conntrack_udp_timeout=30",
               "net.netfilter.nf_conntrack_udp_timeout_stream=30")
    net.nat(0)
    world.serve()
    # The room has space for five more. Five headsets of another generator join later, from the
    # router itself, and send. The idle five have sent nothing then, so the server's packets to them
    # prove that the NAT still has their mappings.
    idle = world.load(duration=42, headsets=5, room_size=10, options=["--profile", "idle"])
    send_once(world, net)
    idle.until(WINDOW_START + 3)
    before = {port: net.mappings(port) for port in (5055, 5056)}
    silent = net.mappings(9)
    idle.until(38)
    after = {port: net.mappings(port) for port in (5055, 5056)}
    forgotten = len(silent - net.mappings(9))
    packets_before = {name: net.counter("r1", "count", name) for name in ("down5055", "down5056")}
    talk = world.load(duration=3, headsets=5, room_size=5, node="r1")
    report = talk.report()
    rows = [
        judge(Limit("the speakers' joins.failed", "=", 0), report.get("joins", {}).get("failed")),
        world.passed("down5055", ">=", packets_before["down5055"] + 5),
        world.passed("down5056", ">=", packets_before["down5056"] + 100),
        judge(Limit("mappings of 5055 kept for 38 s", "=", 1), len(before[5055] & after[5055])),
        judge(Limit("mappings of 5056 kept for 38 s", "=", 5), len(before[5056] & after[5056])),
        judge(Limit("mapping of a silent flow forgotten", "=", 1), forgotten),
    ]
    # The idle generator does not know the other generator's messages and counts them as misrouted.
    # Here this count proves that they arrived.
    wanted = limits(
        channels__pose__loss=None, channels__pose__delivered_share=None,
        channels__pose__gap_max_ms=None,
        channels__pose__misrouted=(">=", 100), channels__voice__misrouted=None,
        channels__event__misrouted=None,
    )
    return rows + world.judge(idle, wanted)


def send_once(world, net):
    """Sends one datagram to the discard port. The NAT must forget this flow."""
    code = "import socket, sys; socket.socket(2, 2).sendto(b'x', (sys.argv[1], 9))"
    sender = Program([*net.inside("c"), sys.executable, "-c", code, net.server_ip()])
    world.stack.callback(sender.end)
    sender.wait(5)


def narrow(ipv6):
    """Returns a case with a link of MTU 1280 in the middle, without ICMP about it."""

    def case(world):
        net = world.build(routers=2, ipv4=not ipv6, ipv6=ipv6)
        net.narrow(1_280)
        # Use a long tick and one room, so that datagrams reach their full size.
        world.serve("--tick", "40ms")
        ip = net.server_ip(ipv6=ipv6)
        rows = steady_run(world, ip, headsets=24, room_size=24)
        large, fragments = (net.counter("r1", "narrow", n) for n in ("large5056", "fragments"))
        fragments += net.counter("r2", "narrow", "fragments")
        return rows + [
            judge(Limit("packets of 5056 over 1,150 bytes", ">=", 100), large),
            judge(Limit("fragments", "=", 0), fragments),
        ]

    return case


def only_ipv6(world):
    """No IPv4 address anywhere but loopback."""
    net = world.build(ipv4=False)
    world.serve()
    return steady_run(world, net.server_ip(ipv6=True))


def only_ipv4(world):
    """IPv6 is disabled on the server's machine."""
    net = world.build(ipv6=False)
    net.sysctl("s", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
    world.serve()
    return steady_run(world)


def two_addresses(add):
    """Returns a case with two addresses: answers must have the address that the client used."""

    def case(world):
        net = world.build()
        address = add(net)
        net.nft("r1", f"""
            table inet source {{
                counter other {{}}
                chain prerouting {{
                    type filter hook prerouting priority -200;
                    udp sport {{ 5055, 5056 }} ip saddr != {address} counter name other
                }}
            }}""")
        world.serve()
        rows = steady_run(world, address)
        other = net.counter("r1", "source", "other")
        return rows + [judge(Limit("answers from another address", "=", 0), other)]

    return case


def small_buffers(world):
    """The default limit on receive buffers, and a server without the right to exceed it."""
    world.build()
    with stock_receive_buffers():
        world.serve(wrapper=("setpriv", "--bounding-set=-all", "--inh-caps=-all"))
    warned = sum("net.core.rmem_max" in message for message in world.server.messages())
    return [judge(Limit("warnings that name net.core.rmem_max", ">=", 1), warned), *steady_run(world)]


@contextlib.contextmanager
def stock_receive_buffers():
    """Lowers the limit on receive buffers to the default.

    The limit is that of the whole machine, not of a namespace. So it is lowered only if it is
    large, and only while the server opens its sockets.
    """
    with open(tempfile.gettempdir() + "/nucleus-rig.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = int(RMEM_MAX.read_text(encoding="ascii"))
        if before >= LARGE_RMEM_MAX:
            RMEM_MAX.write_text(str(STOCK_RMEM_MAX), encoding="ascii")
        try:
            yield
        finally:
            if before >= LARGE_RMEM_MAX:
                RMEM_MAX.write_text(str(before), encoding="ascii")


# The long cases come first, because they decide how long the whole rig takes.
CASES = {
    "nat-forget": nat_forget,
    "nat-rebind": nat_rebind,
    "blocked-later": blocked_for_a_while("udp dport 5056 drop; udp sport 5056"),
    "blocked-up": blocked_for_a_while("udp dport 5056"),
    "blocked": blocked,
    "mtu1280": narrow(ipv6=False),
    "mtu1280-ipv6": narrow(ipv6=True),
    "firewall": firewall,
    "moved": moved,
    "ipv6": only_ipv6,
    "ipv4-only": only_ipv4,
    "two-addresses": two_addresses(lambda net: net.add_server_address(3)),
    "two-interfaces": two_addresses(Net.add_server_link),
    "small-buffers": small_buffers,
}
DESCRIPTIONS = {
    "blocked-later": "UDP 5056 is dropped both ways for 6 s in mid-run, then opened again.",
    "blocked-up": "UDP 5056 is dropped from the client to the server for 6 s in mid-run, then opened again.",
    "mtu1280": "A link of MTU 1280 in the middle, no fragments, and no ICMP about it.",
    "mtu1280-ipv6": "A link of MTU 1280 in the middle, over IPv6.",
    "two-addresses": "Two addresses on the server's interface; the client uses the second.",
    "two-interfaces": "Two interfaces; the client uses the one without the default route.",
}


def description(name):
    """Returns one line about a case."""
    return DESCRIPTIONS.get(name) or CASES[name].__doc__.strip()


def run(name, settings):
    """Runs a case. Returns its rows and notes."""
    world = World(name, settings)
    with world.stack:
        rows = CASES[name](world)
        return rows, world.notes
