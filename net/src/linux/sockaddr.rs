//! Socket addresses in the kernel's format, in a buffer that fits IPv4 and IPv6.

use super::{read_plain, write_plain, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Size of `sockaddr_in6`, the larger of the two structures, rounded up for alignment.
const SOCKADDR_BYTES: usize = 32;

const _: () = assert!(size_of::<libc::sockaddr_in6>() <= SOCKADDR_BYTES);
const _: () = assert!(size_of::<libc::sockaddr_in>() <= SOCKADDR_BYTES);

/// A buffer with a `sockaddr_in` or a `sockaddr_in6`.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct SockaddrBuffer([u8; SOCKADDR_BYTES]);

impl SockaddrBuffer {
    pub(super) const EMPTY: SockaddrBuffer = SockaddrBuffer([0; SOCKADDR_BYTES]);
    pub(super) const CAPACITY: libc::socklen_t = SOCKADDR_BYTES as libc::socklen_t;

    /// Writes `addr` and returns the length of the structure. For an IPv6 socket (`v6`) an IPv4
    /// address is mapped to IPv6; for an IPv4 socket a mapped address is converted back.
    pub(super) fn set(&mut self, addr: SocketAddr, v6: bool) -> libc::socklen_t {
        match (canonical(addr), v6) {
            (SocketAddr::V4(addr), false) => self.set_v4(addr),
            (SocketAddr::V4(addr), true) => {
                self.set_v6(SocketAddrV6::new(addr.ip().to_ipv6_mapped(), addr.port(), 0, 0))
            }
            (SocketAddr::V6(addr), _) => self.set_v6(addr),
        }
    }

    fn set_v4(&mut self, addr: SocketAddrV4) -> libc::socklen_t {
        let mut raw: libc::sockaddr_in = zeroed();
        raw.sin_family = libc::AF_INET as libc::sa_family_t;
        raw.sin_port = addr.port().to_be();
        raw.sin_addr.s_addr = u32::from_ne_bytes(addr.ip().octets());
        self.write(raw)
    }

    fn set_v6(&mut self, addr: SocketAddrV6) -> libc::socklen_t {
        let mut raw: libc::sockaddr_in6 = zeroed();
        raw.sin6_family = libc::AF_INET6 as libc::sa_family_t;
        raw.sin6_port = addr.port().to_be();
        raw.sin6_addr.s6_addr = addr.ip().octets();
        raw.sin6_flowinfo = addr.flowinfo();
        raw.sin6_scope_id = addr.scope_id();
        self.write(raw)
    }

    fn write<T: super::Plain>(&mut self, raw: T) -> libc::socklen_t {
        // Cannot fail: the assertion above shows that both structures fit.
        let _ = write_plain(&mut self.0, raw);
        size_of::<T>() as libc::socklen_t
    }

    /// Returns the canonical address that the kernel wrote in `len` bytes; `None` for other
    /// families than IPv4 and IPv6.
    pub(super) fn addr(&self, len: libc::socklen_t) -> Option<SocketAddr> {
        let bytes = self.0.get(..len as usize)?;
        let family = libc::c_int::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        match family {
            libc::AF_INET => {
                let raw: libc::sockaddr_in = read_plain(bytes)?;
                let ip = Ipv4Addr::from(raw.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddr::from((ip, u16::from_be(raw.sin_port))))
            }
            libc::AF_INET6 => {
                let raw: libc::sockaddr_in6 = read_plain(bytes)?;
                let ip = Ipv6Addr::from(raw.sin6_addr.s6_addr);
                let port = u16::from_be(raw.sin6_port);
                // The flow label is left out: it does not identify the sender, and a new label must
                // not look like a new address.
                Some(canonical(SocketAddrV6::new(ip, port, 0, raw.sin6_scope_id).into()))
            }
            _ => None,
        }
    }
}

/// Converts an IPv4-mapped IPv6 address to IPv4.
fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(ip) => SocketAddr::from((ip, v6.port())),
            None => addr,
        },
        SocketAddr::V4(_) => addr,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_canonical() {
        for (addr, v6, back) in [
            ("10.1.2.3:9", false, "10.1.2.3:9"),
            ("10.1.2.3:9", true, "10.1.2.3:9"),
            ("[::ffff:10.1.2.3]:9", false, "10.1.2.3:9"),
            ("[2001:db8::1]:65535", true, "[2001:db8::1]:65535"),
            ("[fe80::1%7]:1", true, "[fe80::1%7]:1"),
        ] {
            let mut name = SockaddrBuffer::EMPTY;
            let len = name.set(addr.parse().unwrap(), v6);
            assert_eq!(name.addr(len), Some(back.parse().unwrap()), "{addr}");
            assert_eq!(name.addr(len - 1), None, "cut short");
        }
        assert_eq!(SockaddrBuffer::EMPTY.addr(SockaddrBuffer::CAPACITY), None);
        assert_eq!(SockaddrBuffer::EMPTY.addr(SockaddrBuffer::CAPACITY + 1), None);
    }
}
